"""Whether a campaign may begin: one line for everything that people would stumble over, with what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count, Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotations.models import MIN_CANDIDATES, Campaign, Candidate, ManifestRow, Slot, Task


@dataclass(frozen=True)
class Check:
    """One thing that must be so, or had better be."""

    name: str
    """A code for programs and tests."""
    text: str
    """How it is."""
    is_met: bool
    advice: str = ""
    """What to do where it is not met."""
    is_needed: bool = True
    """Whether the campaign cannot start without it."""

    @property
    def stands_in_the_way(self) -> bool:
        return self.is_needed and not self.is_met


def readiness_of(campaign: Campaign) -> list[Check]:
    """What starting a campaign depends on, what is needed first; a number of statements that does not grow."""
    checks = [
        _is_open(campaign),
        *_tasks(campaign),
        *_votes(campaign),
        *_prepared(campaign),
        *_people(campaign),
    ]
    return sorted(checks, key=lambda check: not check.is_needed)


def obstacles(checks: Iterable[Check]) -> list[Check]:
    """What stands in the way of a start."""
    return [check for check in checks if check.stands_in_the_way]


def _is_open(campaign: Campaign) -> Check:
    return Check(
        "open",
        _("The campaign is not closed."),
        is_met=campaign.state != Campaign.State.CLOSED,
        advice=_("It is closed and stays so. Make a new campaign, or clone this one."),
    )


def _tasks(campaign: Campaign) -> list[Check]:
    regular = campaign.tasks.filter(purpose=Task.Purpose.REGULAR)
    sized = regular.annotate(shown=Count("candidates"))
    hidden = Exists(Candidate.objects.filter(task=OuterRef("pk"), image__is_hidden=True))
    total, lonely = regular.count(), sized.filter(shown__lt=MIN_CANDIDATES).count()
    spoilt = regular.filter(hidden).count()
    waiting = ManifestRow.objects.filter(campaign=campaign, image=None, problem="").count()
    return [
        Check(
            "tasks",
            ngettext("There is %(n)s task.", "There are %(n)s tasks.", total) % {"n": intcomma(total)}
            if total
            else _("There are no tasks."),
            is_met=total > 0,
            advice=_("It has no tasks. Import or generate images for it first."),
        ),
        Check(
            "candidates",
            _("Every task has at least %(n)d images.") % {"n": MIN_CANDIDATES},
            is_met=not lonely,
            advice=ngettext(
                "%(n)s task has fewer than %(least)d images. Remove it.",
                "%(n)s tasks have fewer than %(least)d images. Remove them.",
                lonely,
            )
            % {"n": intcomma(lonely), "least": MIN_CANDIDATES},
        ),
        Check(
            "read",
            _("All images are read."),
            is_met=not waiting,
            advice=ngettext(
                "%(n)s image of the manifest is not read yet. Wait for the import, or start it again.",
                "%(n)s images of the manifest are not read yet. Wait for the import, or start it again.",
                waiting,
            )
            % {"n": intcomma(waiting)},
        ),
        Check(
            "visible",
            _("No task shows an image that is hidden."),
            is_met=not spoilt,
            is_needed=0 < total == spoilt,
            advice=ngettext(
                "%(n)s task holds a hidden image and is never shown. Show the image again, or leave it so.",
                "%(n)s tasks hold a hidden image and are never shown. Show the images again, or leave it so.",
                spoilt,
            )
            % {"n": intcomma(spoilt)},
        ),
    ]


def _votes(campaign: Campaign) -> list[Check]:
    """Of a campaign with tasks; without them, that is said and enough."""
    if not campaign.tasks.exists():
        return []
    wanted = campaign.slots.filter(task__purpose=Task.Purpose.REGULAR).exclude(state=Slot.State.DONE).count()
    return [
        Check(
            "votes",
            ngettext("%(n)s vote is wanted.", "%(n)s votes are wanted.", wanted) % {"n": intcomma(wanted)},
            is_met=wanted > 0,
            is_needed=not campaign.is_running,
            advice=_("It has all the votes it wants. Add tasks to it, or close it."),
        )
    ]


def _prepared(campaign: Campaign) -> list[Check]:
    """Gold and practice that can be given out, where the settings promise them."""
    hidden = Exists(Candidate.objects.filter(task=OuterRef("pk"), image__is_hidden=True))
    counts = dict(
        campaign.tasks.filter(~hidden, purpose__in=[Task.Purpose.GOLD, Task.Purpose.PRACTICE], retired_at=None)
        .order_by()
        .values_list("purpose")
        .annotate(Count("pk"))
    )
    gold, practice = counts.get(Task.Purpose.GOLD, 0), counts.get(Task.Purpose.PRACTICE, 0)
    checks = []
    if campaign.gold_share > 0:
        checks.append(
            Check(
                "gold",
                ngettext("There is %(n)d gold task.", "There are %(n)d gold tasks.", gold) % {"n": gold},
                is_met=gold > 0,
                advice=_("The settings promise gold tasks. Make some, or set their share to 0."),
            )
        )
    if campaign.practice_tasks > 0:
        checks.append(
            Check(
                "practice",
                ngettext("There is %(n)d practice task.", "There are %(n)d practice tasks.", practice)
                % {"n": practice},
                is_met=practice >= campaign.practice_tasks,
                advice=_("People practise on %(wanted)d tasks. Make %(missing)d more, or let them practise on fewer.")
                % {"wanted": campaign.practice_tasks, "missing": campaign.practice_tasks - practice},
            )
        )
    return checks


def _people(campaign: Campaign) -> list[Check]:
    checks = [
        Check(
            "instructions",
            _("People are told what to look at."),
            is_met=bool(campaign.instructions.strip()),
            is_needed=False,
            advice=_("There are no instructions. A few lines, with examples, make people agree more."),
        )
    ]
    if campaign.access == Campaign.Access.INVITED:
        is_live = Q(is_active=True) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
        invites = campaign.invites.filter(is_live & (Q(max_uses=None) | Q(uses__lt=F("max_uses"))))
        checks.append(
            Check(
                "invites",
                _("There is a link by which people can come."),
                is_met=invites.exists() or campaign.recruitments.filter(is_active=True).exists(),
                is_needed=False,
                advice=_("Only invited people may vote, and no invite or recruitment is open. Make one."),
            )
        )
    if campaign.asks_about_people:
        checks.append(
            Check(
                "consent",
                _("People agree before they are asked about themselves."),
                is_met=bool(campaign.consent.strip()),
                advice=_("People are asked about themselves. Write down what they agree to, or do not ask."),
            )
        )
    return checks
