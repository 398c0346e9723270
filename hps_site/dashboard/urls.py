"""Addresses of the dashboard."""

from django.urls import path

from hps_site.dashboard.views import campaigns, exports, labellings, people, previews, quality, reports, uploads

app_name = "dashboard"
urlpatterns = [
    path("", reports.index, name="index"),
    path("campaigns/new/", campaigns.new, name="new-campaign"),
    path("campaigns/new/found/", campaigns.found, name="found-images"),
    path("campaigns/uploads/", uploads.begin, name="begin-upload"),
    path("campaigns/uploads/<uuid:public_id>/", uploads.upload, name="upload"),
    path("campaigns/uploads/<uuid:public_id>/<int:number>/", uploads.part, name="upload-part"),
    path("campaigns/<slug:slug>/", campaigns.campaign, name="campaign-page"),
    path("campaigns/<slug:slug>/settings/", campaigns.settings, name="campaign-settings"),
    path("campaigns/<slug:slug>/instructions/", campaigns.instructions, name="campaign-instructions"),
    path("campaigns/<slug:slug>/images/", campaigns.images, name="campaign-images"),
    path("campaigns/<slug:slug>/state/", campaigns.change_state, name="campaign-state"),
    path("campaigns/<slug:slug>/clone/", campaigns.clone, name="campaign-clone"),
    path("campaigns/<slug:slug>/preview/", previews.preview, name="preview"),
    path("campaigns/<slug:slug>/preview/undo/", previews.undo, name="preview-undo"),
    path("campaigns/<slug:slug>/preview/claims", previews.Claims.as_view(), name="preview-claims"),
    path("campaigns/<slug:slug>/preview/votes", previews.Votes.as_view(), name="preview-votes"),
    path(
        "campaigns/<slug:slug>/preview/votes/<uuid:public_id>/undo", previews.Undo.as_view(), name="preview-undo-vote"
    ),
    path("campaigns/<slug:slug>/preview/heartbeat", previews.Heartbeat.as_view(), name="preview-heartbeat"),
    path("campaigns/<slug:slug>/preview/release", previews.Release.as_view(), name="preview-release"),
    path("campaigns/<slug:slug>/preview/progress", previews.MyProgress.as_view(), name="preview-progress"),
    path("labellings/", labellings.labellings, name="labellings"),
    path("labellings/<uuid:public_id>/", labellings.labelling, name="labelling"),
    path("labellings/<uuid:public_id>/train/", labellings.train, name="train-on-labelling"),
    *(
        path(f"labellings/<uuid:public_id>/<int:pk>/{way}/", labellings.mark, {"is_struck_out": is_out}, name=way)
        for way, is_out in (("strike-out", True), ("unstrike", False))
    ),
    path("people/", people.people, name="people"),
    path("people/<uuid:public_id>/", people.person, name="person"),
    *(
        path(f"people/<uuid:public_id>/{action}/", people.change_state, {"action": action}, name=action)
        for action in ("pause", "exclude", "restore")
    ),
    path("<slug:slug>/quality/", quality.quality, name="quality"),
    path("<slug:slug>/gold/", quality.gold, name="gold"),
    *(
        path(f"<slug:slug>/gold/{way}/", quality.make, {"way": way}, name=f"gold-{way}")
        for way in ("made", "of-one-mind", "by-hand")
    ),
    path("<slug:slug>/gold/retire/", quality.retire, name="gold-retire"),
    path("<slug:slug>/", reports.campaign, name="campaign"),
    path("<slug:slug>/agreement/", reports.agreement, name="agreement"),
    path("<slug:slug>/export/", exports.export, name="export"),
    path("<slug:slug>/score/", reports.score, name="score"),
]
