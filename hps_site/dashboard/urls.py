"""Addresses of the dashboard."""

from django.urls import path

from hps_site.dashboard.views import exports, people, quality, reports

app_name = "dashboard"
urlpatterns = [
    path("", reports.index, name="index"),
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
    path("<slug:slug>/export/", exports.export, name="export"),
    path("<slug:slug>/score/", reports.score, name="score"),
]
