"""How good a campaign's votes are, and its tasks with known answers."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from annotations.models import Annotator, Campaign, Image, Task
from annotations.queries.quality import read_said
from annotations.services.gold import (
    UnableToMakeGold,
    make_gold,
    make_gold_of,
    promote_to_gold,
    restore_gold,
    retire_gold,
)
from hps_site.dashboard import pictures
from hps_site.dashboard.queries.people import check_tasks
from hps_site.dashboard.queries.quality import gold_rows, quality_report
from worker.views.staff import staff_only

# Regular tasks offered for gold by hand.
OFFERED = 8
MOST_AT_ONCE = 200


@require_safe
@staff_only
def quality(request: HttpRequest, slug: str) -> HttpResponse:
    """Agreement, places and the tasks that stand out, of people who are not excluded."""
    campaign = get_object_or_404(Campaign, slug=slug)
    excluded = {str(pk) for pk in Annotator.objects.filter(state="excluded").values_list("pk", flat=True)}
    said = [vote for vote in read_said([campaign]) if vote.person not in excluded]
    report = quality_report(said)
    context = {
        "campaign": campaign,
        "report": report,
        "places_chart": pictures.places_chart(report.places) if report.places else None,
        "items": [
            ("contested", _("Most contested"), _("No answer has a large majority here."), report.contested),
            (
                "skipped",
                _("Most skipped"),
                _("Perhaps the text says too little."),
                report.skipped,
            ),
            ("flagged", _("Flagged"), _("Somebody found these broken, offensive or senseless."), report.flagged),
        ],
    }
    return render(request, "dashboard/people/quality.html", context)


@require_safe
@staff_only
def gold(request: HttpRequest, slug: str) -> HttpResponse:
    """The tasks of a campaign whose answer is known, and the ways to make more."""
    campaign = get_object_or_404(Campaign, slug=slug)
    offered = campaign.tasks.filter(purpose=Task.Purpose.REGULAR).exclude(images__is_hidden=True)
    context = {
        "campaign": campaign,
        "ways": [
            (
                "dashboard:gold-made",
                _("Made automatically"),
                _("An image beside worse copies of itself, or beside images of other prompts."),
            ),
            (
                "dashboard:gold-of-one-mind",
                _("From people of one mind"),
                _("Finished tasks on which five people or more all chose the same image."),
            ),
        ],
        "rows": gold_rows(check_tasks(campaign)),
        "offered": offered.select_related("prompt").prefetch_related("candidates__image").order_by("?")[:OFFERED],
    }
    return render(request, "dashboard/people/gold.html", context)


@require_POST
@staff_only
@permission_required("annotations.add_task", raise_exception=True)
def make(request: HttpRequest, slug: str, way: str) -> HttpResponse:
    """Make gold or practice tasks: from worse copies and wrong prompts, from people of one mind, or by hand."""
    campaign = get_object_or_404(Campaign, slug=slug)
    is_practice = request.POST.get("purpose") == Task.Purpose.PRACTICE
    purpose = Task.Purpose.PRACTICE if is_practice else Task.Purpose.GOLD
    try:
        if way == "by-hand":
            task = get_object_or_404(campaign.tasks, public_id=_id_in(request, "task"), purpose=Task.Purpose.REGULAR)
            expected = get_object_or_404(Image, public_id=_id_in(request, "image"))
            tasks = [make_gold_of(task=task, expected=expected, purpose=purpose)]
        else:
            count = _count_of(request)
            way_of = promote_to_gold if way == "of-one-mind" else make_gold
            tasks = way_of(campaign=campaign, count=count, purpose=purpose).tasks
    except (UnableToMakeGold, ValueError) as error:
        messages.error(request, str(error))
    else:
        made = ngettext("%(n)s task made.", "%(n)s tasks made.", len(tasks)) % {"n": len(tasks)}
        messages.success(request, made)
    return redirect("dashboard:gold", slug)


@require_POST
@staff_only
@permission_required("annotations.change_task", raise_exception=True)
def retire(request: HttpRequest, slug: str) -> HttpResponse:
    """Take a gold task out of use, or back into it."""
    task = get_object_or_404(Task, campaign__slug=slug, public_id=_id_in(request, "task"))
    if task.retired_at:
        restore_gold(task=task)
        messages.success(request, _("The task is used again, and its answers count."))
    else:
        retire_gold(task=task)
        messages.success(request, _("The task is retired: nobody gets it, and no answer to it counts."))
    return redirect("dashboard:gold", slug)


def _id_in(request: HttpRequest, name: str) -> UUID:
    """The public id that a form sent; what is no id names nothing that is there."""
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        raise Http404 from None


def _count_of(request: HttpRequest) -> int:
    text = request.POST.get("count", "20")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_AT_ONCE:
        raise ValueError(_("Say how many tasks to make, from 1 to %(most)s.") % {"most": MOST_AT_ONCE})
    return int(text)
