"""The votes of a campaign as a download."""

import tempfile
from pathlib import Path

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from annotations.exports.choices import export_snapshot
from annotations.models import Campaign, Vote
from annotations.services.snapshots import take_snapshot
from worker.views.staff import staff_only

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
# More than these would keep a web process busy for longer than a proxy waits.
MAX_VOTES = 50_000


@require_POST
@staff_only
@permission_required("annotations.view_vote", raise_exception=True)
def export(request: HttpRequest, slug: str) -> HttpResponse | FileResponse:
    """A table of the counted votes, frozen now; the command has the other forms, and room for more."""
    campaign = get_object_or_404(Campaign, slug=slug)
    form = request.POST.get("format", "csv")
    if form not in CONTENT_TYPES:
        messages.error(request, _("A download is either csv or parquet; export_choices writes the other forms."))
        return redirect("dashboard:campaign", slug)
    if Vote.objects.counted().filter(task__campaign=campaign).count() > MAX_VOTES:
        text = _("There are too many votes for a download; use manage.py export_choices OUT --campaign %s.")
        messages.error(request, text % slug)
        return redirect("dashboard:campaign", slug)
    snapshot = take_snapshot(campaign=campaign)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        path = Path(folder) / f"{slug}-{snapshot.sha256[:12]}.{form}"
        export_snapshot(snapshot=snapshot, form=form, out=path, progress=lambda _done, _total: None)
        # The open file outlives its name.
        return FileResponse(path.open("rb"), as_attachment=True, filename=path.name, content_type=CONTENT_TYPES[form])
