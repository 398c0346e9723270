"""People whom panels send, and the places they take."""

from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from annotations.models import Annotator, Campaign, Participation, Recruitment, Slot
from annotations.queries import people as queries
from annotations.services.claims import PlaceGivenBack, claim_slots
from annotations.services.people import CampaignOver
from annotations.services.recruiting import (
    Arrival,
    IdsRejected,
    NoPlaceLeft,
    NotWanted,
    RecruitmentOver,
    TookPartAlready,
    enter,
    give_back_abandoned,
    mturk_submit_address,
    pseudonym_of,
    read_arrival,
)
from tests.annotations.factories import make_campaign, make_recruitment
from tests.annotations.races import at_once
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db

IDS = {"PROLIFIC_PID": "5f3a", "STUDY_ID": "study1", "SESSION_ID": "session1"}


def arrival(person: str = "5f3a", session: str = "session1") -> Arrival:
    return Arrival(person=person, study="study1", session=session)


def leave_alone(part: Participation, minutes: int) -> None:
    """Let the person have been seen last so long ago."""
    Participation.objects.filter(pk=part.pk).update(seen_at=timezone.now() - timedelta(minutes=minutes))


# What an address says


def test_read_arrival_takes_the_ids_under_the_names_of_the_recruitment() -> None:
    prolific = make_recruitment(make_campaign(tasks=0))
    other = make_recruitment(
        make_campaign(tasks=0), panel="other", person_parameter="pid", study_parameter="", session_parameter=""
    )

    assert read_arrival(recruitment=prolific, given=IDS) == Arrival("5f3a", "study1", "session1")
    assert read_arrival(recruitment=other, given={"pid": "a@b.example", "STUDY_ID": "x"}) == Arrival("a@b.example")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"PROLIFIC_PID": ""}, "The address lacks PROLIFIC_PID"),
        ({"SESSION_ID": " "}, "The address lacks SESSION_ID"),
        ({"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, "PROLIFIC_PID in the address is no id"),
        ({"PROLIFIC_PID": "a" * 101}, "PROLIFIC_PID in the address is no id"),
        ({"STUDY_ID": "a b"}, "STUDY_ID in the address is no id"),
        ({"STUDY_ID": "=1+1"}, "STUDY_ID in the address is no id"),
        ({"STUDY_ID": "a\x00"}, "STUDY_ID in the address is no id"),
        ({"STUDY_ID": "ähm"}, "STUDY_ID in the address is no id"),
        ({"STUDY_ID": "a\nb"}, "STUDY_ID in the address is no id"),
    ],
)
def test_read_arrival_refuses_what_is_no_id(changes: dict[str, str], says: str) -> None:
    with pytest.raises(IdsRejected, match=says):
        read_arrival(recruitment=make_recruitment(make_campaign(tasks=0)), given=IDS | changes)


def test_read_arrival_knows_a_preview_of_mturk() -> None:
    mturk = make_recruitment(make_campaign(tasks=0), panel="mturk")

    given = {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "H1"}

    assert read_arrival(recruitment=mturk, given=given).is_preview
    assert not read_arrival(recruitment=mturk, given={"assignmentId": "A1", "hitId": "H1", "workerId": "W1"}).is_preview


def test_pseudonym_of_hides_the_id_and_names_people_of_other_panels_in_their_study_only() -> None:
    campaign = make_campaign(tasks=0)
    first, second = (make_recruitment(campaign, panel="other", person_parameter="pid") for _ in range(2))

    assert "5f3a" not in pseudonym_of("prolific", "5f3a")
    assert pseudonym_of("prolific", "5f3a", first) == pseudonym_of("prolific", "5f3a")
    assert pseudonym_of("other", "7", first) != pseudonym_of("other", "7", second)
    assert len(pseudonym_of("other", "7", first)) <= 200


@pytest.mark.parametrize(
    "given",
    [
        "", "http://www.mturk.com", "https://evil.example", "https://www.mturk.com.evil.example", "//www.mturk.com",
        "https://www.mturk.com@evil.example", "javascript:alert(1)", "https://[", "https://evil.example/www.mturk.com",
    ],
)  # fmt: skip
def test_mturk_submit_address_is_always_one_of_mturks_own(given: str) -> None:
    assert mturk_submit_address(given) == "https://www.mturk.com/mturk/externalSubmit"


def test_mturk_submit_address_takes_the_sandbox() -> None:
    sandbox = "https://workersandbox.mturk.com"

    assert mturk_submit_address(sandbox) == mturk_submit_address(f"{sandbox}/") == f"{sandbox}/mturk/externalSubmit"


@given(st.text())
def test_mturk_submit_address_leads_nowhere_else_whatever_is_given(given: str) -> None:
    assert mturk_submit_address(given).startswith(("https://www.mturk.com/", "https://workersandbox.mturk.com/"))


# The record of a recruitment


def test_recruitment_gets_the_parameters_of_its_panel() -> None:
    recruitment = make_recruitment(make_campaign(tasks=0), panel="mturk", person_parameter="mine")

    assert recruitment.parameters == ["workerId", "hitId", "assignmentId"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"completion_code": ""}, "completion_code"),
        ({"completion_code": "a b"}, "completion_code"),
        ({"screen_out_code": "=1"}, "screen_out_code"),
        ({"codes": "unique"}, "codes"),
        ({"return_address": "http://panel.example/{code}"}, "return_address"),
        ({"return_address": "javascript:alert('{code}')"}, "return_address"),
        ({"return_address": "https://panel.example/done"}, "return_address"),
        ({"return_address": "//panel.example/{code}"}, "return_address"),
        ({"panel": "other", "person_parameter": "id", "study_parameter": "id"}, "person_parameter"),
    ],
)
def test_recruitment_refuses_what_would_lead_people_astray(fields: dict[str, str], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        make_recruitment(make_campaign(tasks=0), **fields)

    assert list(error.value.message_dict) == [field]


def test_return_link_is_prolifics_unless_another_is_given() -> None:
    campaign = make_campaign(tasks=0)
    own = make_recruitment(campaign, panel="other", person_parameter="p", return_address="https://p.example/?c={code}")

    assert make_recruitment(campaign).return_link("AB") == "https://app.prolific.com/submissions/complete?cc=AB"
    assert own.return_link("AB") == "https://p.example/?c=AB"
    assert own.return_link("") == make_recruitment(campaign, panel="mturk").return_link("AB") == ""


# Coming in


def test_enter_makes_a_guest_with_a_part_and_keeps_no_id_of_the_person() -> None:
    recruitment = make_recruitment(make_campaign())

    part = enter(recruitment=recruitment, arrival=arrival())

    assert (part.state, part.recruitment, part.study_id, part.session_id) == (
        "active", recruitment, "study1", "session1",
    )  # fmt: skip
    assert (part.annotator.source, part.annotator.user.has_usable_password()) == ("recruited", False)
    assert part.annotator.external_id == pseudonym_of("prolific", "5f3a")
    assert part.annotator.user.username.startswith("guest-")


def test_enter_leads_the_same_person_to_the_same_part_with_the_latest_session() -> None:
    recruitment = make_recruitment(make_campaign())
    first = enter(recruitment=recruitment, arrival=arrival())

    again = enter(recruitment=recruitment, arrival=arrival(session="session2"))
    other = enter(recruitment=recruitment, arrival=arrival("6b2c"))

    assert (again, again.annotator, again.session_id) == (first, first.annotator, "session2")
    assert other.annotator != first.annotator
    assert queries.places_taken(recruitment) == 2


def test_enter_knows_a_person_of_prolific_in_another_campaign() -> None:
    parts = [enter(recruitment=make_recruitment(make_campaign()), arrival=arrival()) for _ in range(2)]

    assert parts[0] != parts[1]
    assert parts[0].annotator == parts[1].annotator


@pytest.mark.parametrize(
    ("fields", "campaign_state", "error"),
    [
        ({"is_active": False}, "running", RecruitmentOver),
        ({}, "closed", CampaignOver),
        ({}, "draft", RecruitmentOver),
        ({"places": 0}, "running", NoPlaceLeft),
    ],
)
def test_enter_refuses_and_leaves_nothing_behind(
    fields: dict[str, object], campaign_state: str, error: type[Exception]
) -> None:
    recruitment = make_recruitment(make_campaign(state=campaign_state), **fields)

    with pytest.raises(error, match="return"):
        enter(recruitment=recruitment, arrival=arrival())

    assert (Annotator.objects.count(), Participation.objects.count()) == (0, 0)


def test_enter_lets_who_is_in_come_back_after_the_recruitment_is_over() -> None:
    recruitment = make_recruitment(make_campaign(), places=1)
    first = enter(recruitment=recruitment, arrival=arrival())
    Recruitment.objects.update(is_active=False)

    assert enter(recruitment=recruitment, arrival=arrival()) == first


def test_enter_refuses_who_was_excluded() -> None:
    recruitment = make_recruitment(make_campaign())
    part = enter(recruitment=recruitment, arrival=arrival())
    Annotator.objects.update(state=Annotator.State.EXCLUDED)

    with pytest.raises(NotWanted):
        enter(recruitment=make_recruitment(make_campaign()), arrival=arrival())
    assert list(Participation.objects.all()) == [part]


def test_enter_by_another_link_of_the_campaign_is_no_second_part() -> None:
    campaign = make_campaign()
    first, second = make_recruitment(campaign, votes_wanted=1), make_recruitment(campaign)
    part = enter(recruitment=first, arrival=arrival())

    assert enter(recruitment=second, arrival=arrival(session="session2")) == part
    vote_on(claim_slots(annotator=part.annotator, campaign=campaign, count=1)[0])
    with pytest.raises(TookPartAlready):
        enter(recruitment=second, arrival=arrival(session="session2"))
    part.refresh_from_db()
    assert (part.recruitment, part.session_id, part.state) == (first, "session1", "completed")


# Places


@pytest.mark.django_db(transaction=True)
def test_enter_race_gives_out_no_more_places_than_there_are() -> None:
    recruitment = make_recruitment(make_campaign(), places=5)

    results = at_once([
        partial(enter, recruitment=recruitment, arrival=arrival(f"person{n}")) for n in range(20)
    ])  # fmt: skip

    assert sum(isinstance(result, Participation) for result in results) == 5
    assert sum(isinstance(result, NoPlaceLeft) for result in results) == 15
    assert (Annotator.objects.count(), queries.places_taken(recruitment)) == (5, 5)


@pytest.mark.django_db(transaction=True)
def test_enter_race_of_one_person_takes_one_place() -> None:
    recruitment = make_recruitment(make_campaign(), places=1)

    results = at_once([partial(enter, recruitment=recruitment, arrival=arrival())] * 10)

    assert {*results} == {Participation.objects.get()}
    assert Annotator.objects.get().user is not None


@pytest.mark.django_db(transaction=True)
def test_enter_race_of_one_person_by_two_campaigns_makes_one_guest() -> None:
    both = [make_recruitment(make_campaign()) for _ in range(2)]
    enter(recruitment=both[0], arrival=arrival()).annotator.user.delete()

    results = at_once([partial(enter, recruitment=both[n % 2], arrival=arrival()) for n in range(10)])

    assert {part.annotator.user_id for part in results} == {User.objects.get().pk}
    assert len({part.pk for part in results}) == 2


def test_abandoned_places_are_given_to_who_comes_next() -> None:
    recruitment = make_recruitment(make_campaign(), places=1, minutes=60)
    gone = enter(recruitment=recruitment, arrival=arrival("gone"))
    claim_slots(annotator=gone.annotator, campaign=recruitment.campaign, count=2)
    leave_alone(gone, minutes=59)
    with pytest.raises(NoPlaceLeft):
        enter(recruitment=recruitment, arrival=arrival("next"))

    leave_alone(gone, minutes=61)
    came = enter(recruitment=recruitment, arrival=arrival("next"))

    gone.refresh_from_db()
    assert (gone.state, came.state) == ("returned", "active")
    assert gone.finished_at is not None
    assert Slot.objects.filter(state="leased").count() == 0


def test_who_gave_a_place_back_votes_no_more_until_they_get_one_again() -> None:
    recruitment = make_recruitment(make_campaign(), places=1)
    part = enter(recruitment=recruitment, arrival=arrival())
    leave_alone(part, minutes=121)
    assert give_back_abandoned() == 1

    with pytest.raises(PlaceGivenBack):
        claim_slots(annotator=part.annotator, campaign=recruitment.campaign, count=1)
    again = enter(recruitment=recruitment, arrival=arrival(session="session2"))

    assert (again, again.state, again.finished_at) == (part, "active", None)
    assert len(claim_slots(annotator=part.annotator, campaign=recruitment.campaign, count=1)) == 1


def test_give_back_abandoned_leaves_those_alone_who_vote_or_have_finished() -> None:
    campaign = make_campaign()
    recruitment = make_recruitment(campaign, votes_wanted=1)
    finished, voting, away = (enter(recruitment=recruitment, arrival=arrival(name)) for name in "abc")
    Recruitment.objects.update(votes_wanted=2)
    for part in (finished, voting, away):
        leave_alone(part, minutes=500)
    vote_on(claim_slots(annotator=voting.annotator, campaign=campaign, count=1)[0])
    Participation.objects.filter(pk=finished.pk).update(state="completed", finished_at=timezone.now())

    assert give_back_abandoned() == 1

    assert dict(Participation.objects.values_list("pk", "state")) == {
        finished.pk: "completed", voting.pk: "active", away.pk: "returned",
    }  # fmt: skip


def test_recruited_people_enter_their_own_campaign_and_no_other() -> None:
    invited, open_to_all = make_campaign(access=Campaign.Access.INVITED), make_campaign()
    part = enter(recruitment=make_recruitment(invited), arrival=arrival())

    from annotations.queries import voting

    assert voting.may_enter(part.annotator, invited)
    assert not voting.may_enter(part.annotator, open_to_all)
    assert [offer.campaign for offer in voting.offers_for(part.annotator)] == [invited]
