"""People whom a panel such as Prolific or MTurk sends: who they are to us, and the places they take."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Participation, Recruitment
from annotations.queries import people as queries
from annotations.services import participations
from annotations.services.people import CampaignOver, UnableToJoin, make_guest, register_annotator

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,99}", re.ASCII)

# What MTurk sends in the place of an assignment while somebody only looks at the task.
MTURK_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
MTURK_SITES = ("https://www.mturk.com", "https://workersandbox.mturk.com")


class IdsRejected(UnableToJoin):
    code = "ids_rejected"


class RecruitmentOver(UnableToJoin):
    code = "recruitment_over"


class NoPlaceLeft(UnableToJoin):
    code = "no_place_left"


class TookPartAlready(UnableToJoin):
    code = "took_part_already"


class NotWanted(UnableToJoin):
    code = "not_wanted"


@dataclass(frozen=True)
class Arrival:
    """Whom the panel says it sends."""

    person: str
    study: str = ""
    session: str = ""
    is_preview: bool = False


def read_arrival(*, recruitment: Recruitment, given: Mapping[str, str]) -> Arrival:
    """The ids in an address, under the names that the recruitment gives them.

    Raises:
        IdsRejected: one is missing, still the panel's placeholder, or no id.
    """
    if recruitment.panel == Recruitment.Panel.MTURK and given.get(recruitment.session_parameter) == MTURK_PREVIEW:
        return Arrival(person="", is_preview=True)
    return Arrival(
        person=_id_in(given, recruitment.person_parameter),
        study=_id_in(given, recruitment.study_parameter),
        session=_id_in(given, recruitment.session_parameter),
    )


def enter(*, recruitment: Recruitment, arrival: Arrival) -> Participation:
    """The part of a person whom the panel sends: the same one however often they come, with a place taken for it.

    Where all places are taken, those that were left are given back first.

    Raises:
        RecruitmentOver, CampaignOver, NoPlaceLeft: nobody new is let in.
        TookPartAlready: they finished this campaign by another link.
        NotWanted: they were excluded.
    """
    with transaction.atomic():
        locked = _locked(recruitment)
        annotator = _person_of(locked, arrival.person)
        part = participations.participation_of(annotator=annotator, campaign=locked.campaign)
        if part.state in queries.FINISHED:
            if part.recruitment_id != locked.pk:
                raise TookPartAlready(_("You have taken part already. Please return your place there. Thank you!"))
            return part
        if part.recruitment is None or part.state == Participation.State.RETURNED:
            check_open(locked)
            _take_place(locked)
            part.recruitment = locked
        if part.recruitment_id == locked.pk:
            part.study_id, part.session_id = arrival.study, arrival.session
        part.state, part.finished_at = Participation.State.ACTIVE, None
        part.save(update_fields=["recruitment", "study_id", "session_id", "state", "finished_at"])
        Participation.objects.filter(pk=part.pk).update(seen_at=Now())
        return part


def check_welcome(recruitment: Recruitment) -> None:
    """Raise what keeps a recruitment from letting anybody new in; changes nothing.

    A place counts as free here that `enter` would give back before it gives it away.

    Raises:
        RecruitmentOver, CampaignOver, NoPlaceLeft: with what to tell the person.
    """
    check_open(recruitment)
    if recruitment.places is not None:
        _check_places(recruitment, queries.places_taken(recruitment) - _abandoned(recruitment).count())


def check_open(recruitment: Recruitment) -> None:
    """Raise what keeps a recruitment from letting anybody new in, places apart."""
    if not recruitment.is_active:
        raise RecruitmentOver(_("Nobody is wanted for this study any longer. Please return your place there."))
    if recruitment.campaign.state == Campaign.State.DRAFT:
        raise RecruitmentOver(_("This study has not begun yet. Please return your place there, or come back later."))
    if recruitment.campaign.state == Campaign.State.CLOSED:
        raise CampaignOver(_("This study has ended. Please return your place there."))


def part_of_person(*, recruitment: Recruitment, person: str) -> Participation | None:
    """The part that a person whom the panel sent has begun, if any."""
    annotator = Annotator.objects.filter(external_id=pseudonym_of(recruitment.panel, person, recruitment)).first()
    return queries.participation_in(annotator, recruitment.campaign)


def give_back_abandoned(*, recruitment: Recruitment | None = None) -> int:
    """Free the places of people who were not seen for as long as their recruitment waits; gives how many."""
    recruitments = Recruitment.objects.filter(participations__state=Participation.State.ACTIVE).distinct()
    if recruitment is not None:
        recruitments = recruitments.filter(pk=recruitment.pk)
    return sum(_give_back_in(each) for each in recruitments)


def pseudonym_of(panel: str, person: str, recruitment: Recruitment | None = None) -> str:
    """The name under which a panel's id is kept: a keyed hash, from which the id cannot be read.

    The ids of Prolific and MTurk name the same person in all of their studies; those of other panels only in theirs.
    """
    if panel == Recruitment.Panel.OTHER and recruitment is not None:
        panel = f"{panel}-{recruitment.pk}"
    digest = salted_hmac("annotations.recruiting", f"{panel}:{person}", algorithm="sha256").hexdigest()
    return f"{panel}:{digest}"


def mturk_submit_address(given: str) -> str:
    """Where a finished assignment is handed in: at one of MTurk's own sites, whatever the address says."""
    try:
        parts = urlsplit(given)
    except ValueError:
        parts = urlsplit("")
    site = f"{parts.scheme}://{parts.netloc}"
    return f"{site if site in MTURK_SITES else MTURK_SITES[0]}/mturk/externalSubmit"


def _id_in(given: Mapping[str, str], name: str) -> str:
    """The id in a parameter; empty where the panel has no such parameter."""
    if not name:
        return ""
    value = given.get(name, "").strip()
    if not value:
        raise IdsRejected(_("The address lacks %(name)s. Please open the link from your panel.") % {"name": name})
    if not ID.fullmatch(value):
        raise IdsRejected(
            _("%(name)s in the address is no id: 1 to 100 letters and digits. Please open the link from your panel.")
            % {"name": name}
        )
    return value


def _locked(recruitment: Recruitment) -> Recruitment:
    """Let those who want a place wait for each other."""
    rows = Recruitment.objects.select_related("campaign").select_for_update(of=("self",), no_key=True)
    return rows.get(pk=recruitment.pk)


def _person_of(recruitment: Recruitment, person: str) -> Annotator:
    name = pseudonym_of(recruitment.panel, person, recruitment)
    pk = register_annotator(user=None, source=Annotator.Source.RECRUITED, external_id=name).pk
    annotator = Annotator.objects.select_for_update(no_key=True).get(pk=pk)
    if annotator.state == Annotator.State.EXCLUDED:
        raise NotWanted(_("You can no longer take part in our studies. Please return your place there."))
    if annotator.user_id is None:
        annotator.user = make_guest()
        annotator.save(update_fields=["user"])
    return annotator


def _take_place(recruitment: Recruitment) -> None:
    if recruitment.places is None:
        return
    _give_back_in(recruitment)
    _check_places(recruitment, queries.places_taken(recruitment))


def _check_places(recruitment: Recruitment, taken: int) -> None:
    if recruitment.places is not None and taken >= recruitment.places:
        raise NoPlaceLeft(_("All places of this study are taken at the moment. Please return yours there."))


def _give_back_in(recruitment: Recruitment) -> int:
    with transaction.atomic():
        _locked(recruitment)
        abandoned = list(_abandoned(recruitment).select_related("annotator", "campaign"))
        return sum(
            participations.give_back(participation=part, unseen_for=_patience(recruitment)).state
            == Participation.State.RETURNED
            for part in abandoned
        )


def _abandoned(recruitment: Recruitment) -> QuerySet[Participation]:
    active = recruitment.participations.filter(state=Participation.State.ACTIVE)
    return active.filter(seen_at__lt=Now() - _patience(recruitment)).order_by("pk")


def _patience(recruitment: Recruitment) -> timedelta:
    return timedelta(minutes=recruitment.minutes)
