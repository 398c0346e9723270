"""The pages of people, quality and gold: who may see and do what, what they say, what they cost."""

import math
import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from annotations.models import Annotator, Campaign, Outcome, Snapshot, StateChange, Task
from hps_site.dashboard.queries.people import effect_of
from hps_site.dashboard.queries.quality import gold_rows
from tests.annotations.factories import (
    make_annotator,
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    make_user,
)
from tests.hps_site.dashboard.worlds import cast, make_version, task_of
from worker.snapshots import take_snapshot

pytestmark = pytest.mark.django_db

GOLD = Task.Purpose.GOLD


@pytest.fixture
def staff(client: Client) -> Client:
    ben = make_user("ben", is_staff=True)
    ben.user_permissions.set(Permission.objects.filter(content_type__app_label="annotations"))
    client.force_login(ben)
    return client


def text_of(response) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def voted_campaign(people: list[Annotator], **fields) -> Campaign:
    """Twelve pairs, on which the last person always says the opposite; gold that the last person gets wrong."""
    campaign = make_campaign(tasks=0, name="Birds", **{"slug": "birds"} | fields)
    for _ in range(12):
        task = task_of(campaign, ["alder", "birch"])
        for person in people:
            cast(task, person, int(person == people[-1]), shown_ms=1200)
    for _ in range(8):
        gold = make_task(campaign=campaign, votes=0, purpose=GOLD)
        for person in people:
            cast(gold, person, int(person == people[-1]))
    return campaign


def addresses() -> list[str]:
    (ada,) = make_annotators(1)
    campaign = make_campaign()
    return [
        reverse("dashboard:people"),
        *(reverse(f"dashboard:{name}", args=[ada.public_id]) for name in ("person", "pause", "exclude", "restore")),
        *(reverse(f"dashboard:{name}", args=[campaign.slug]) for name in ("quality", "gold")),
    ]


def test_pages_are_for_staff_only(client):
    pages = addresses()
    assert {client.get(address).status_code for address in pages} == {302}

    client.force_login(make_user("cleo"))

    assert {client.get(address).status_code for address in pages} == {403}


def test_pages_open_to_staff_before_anybody_voted(staff):
    assert [staff.get(address).status_code for address in addresses()] == [200] * 7


def test_staff_without_the_right_to_change_people_see_and_change_nothing(client):
    client.force_login(make_user("dan", is_staff=True))
    (ada,) = make_annotators(1)
    campaign = make_campaign(tasks=1)

    assert "Exclude" not in text_of(client.get(reverse("dashboard:person", args=[ada.public_id])))
    assert client.post(reverse("dashboard:exclude", args=[ada.public_id]), {"reason": "x"}).status_code == 403
    assert client.post(reverse("dashboard:gold-made", args=[campaign.slug])).status_code == 403
    assert client.post(reverse("dashboard:gold-retire", args=[campaign.slug])).status_code == 403
    assert Annotator.objects.get(pk=ada.pk).state == "active"


def test_people_lists_everyone_with_figures_and_names_whom_to_look_at(staff):
    people = make_annotators(6)
    voted_campaign(people)

    text = text_of(staff.get(reverse("dashboard:people")))

    assert "6 people who voted" in text
    assert "0 of 8 gold tasks right" in text
    assert "Synthetic" not in text
    ranked = [text.rindex(str(people[-1])), *(text.rindex(str(person)) for person in people[:-1])]
    assert min(ranked) == ranked[0]  # the suspected one stands first


def test_people_can_be_narrowed_to_a_campaign_and_sorted(staff):
    people = make_annotators(3)
    voted_campaign(people)
    other = make_campaign(tasks=0, slug="trees")
    (eve,) = make_annotators(1)
    cast(task_of(other, ["alder", "birch"]), eve, Outcome.TIE)
    address = reverse("dashboard:people")

    assert "1 person who voted" in text_of(staff.get(address, {"campaign": "trees"}))
    assert staff.get(address, {"campaign": "nowhere"}).status_code == 404
    by_ties = staff.get(address, {"sort": "ties"}).context["page"]
    assert by_ties[0].annotator == eve
    assert staff.get(address, {"sort": "-ties"}).context["page"][3].annotator == eve
    for name in ("votes", "gold", "repeats", "fit", "reliability", "place", "skips", "time", "too_fast", "last", "x"):
        assert staff.get(address, {"sort": name}).status_code == 200


def test_people_on_the_next_page_are_those_of_the_same_campaign_in_the_same_order(staff, monkeypatch):
    monkeypatch.setattr("hps_site.dashboard.views.people.PEOPLE_ON_A_PAGE", 2)
    people = make_annotators(3)
    voted_campaign(people)
    address = reverse("dashboard:people")

    page = staff.get(address, {"campaign": "birds", "sort": "-gold"}).content.decode()

    assert 'href="?campaign=birds&amp;sort=-gold&amp;page=2"' in page
    last = staff.get(f"{address}?campaign=birds&sort=-gold&page=2").context["page"]
    assert len(last) == 1
    assert "Page 2 of 2" in text_of(staff.get(address, {"page": 2}))


@pytest.mark.parametrize("count", [2, 8])
def test_people_costs_the_same_however_many_there_are(staff, count, django_assert_num_queries):
    voted_campaign(make_annotators(count))

    with django_assert_num_queries(6):  # session, user, campaigns, generators, votes, annotators
        staff.get(reverse("dashboard:people"))


def test_person_shows_figures_with_intervals_and_pictures(staff):
    people = make_annotators(6)
    voted_campaign(people)

    page = staff.get(reverse("dashboard:person", args=[people[0].public_id]))

    text = text_of(page)
    assert "Nothing stands out." in text
    assert "100.0 % 67.6 % to" not in text  # an interval has its unit once
    assert "100.0 % 67.6 to 100.0 %, n 8" in text
    assert page.content.decode().count("<svg") == 3


def test_person_shows_what_was_decided(staff):
    (ada,) = make_annotators(1)
    StateChange.objects.create(annotator=ada, to="paused", reason="on holiday", by=User.objects.get(username="ben"))

    text = text_of(staff.get(reverse("dashboard:person", args=[ada.public_id])))

    assert "on holiday" in text
    assert "This person has not voted yet." in text
    assert staff.get(reverse("dashboard:person", args=[uuid4()])).status_code == 404


def test_exclusion_is_previewed_and_done_and_taken_back(staff):
    people = make_annotators(3)
    campaign = voted_campaign(people)
    bad = people[-1]
    address = reverse("dashboard:exclude", args=[bad.public_id])

    text = text_of(staff.get(address))
    assert "12 of the 36 votes that count now." in text
    assert "The order of the generators stays." in text
    done = staff.post(address, {"reason": "gold all wrong"})

    assert done["Location"] == reverse("dashboard:person", args=[bad.public_id])
    change = StateChange.objects.get()
    assert (change.to, change.reason, change.by.username) == ("excluded", "gold all wrong", "ben")
    assert change.effect["votes"] == -12
    assert change.effect["slots_opened"] == 12
    assert change.effect["campaigns"][0]["ranking"][0]["generator"] == "alder"
    assert campaign.slots.filter(state="open").count() == 12

    back = reverse("dashboard:restore", args=[bad.public_id])
    assert "12 votes, besides the 24 that count now." in text_of(staff.get(back))
    staff.post(back, {"reason": "it was a mistake"})
    assert Annotator.objects.get(pk=bad.pk).state == "active"
    assert campaign.slots.filter(state="open").count() == 0


def test_a_change_without_a_reason_is_refused_on_the_page(staff):
    (ada,) = make_annotators(1)

    text = text_of(staff.post(reverse("dashboard:pause", args=[ada.public_id]), {"reason": " "}))

    assert "Say why, in a few words" in text
    assert Annotator.objects.get(pk=ada.pk).state == "active"


def test_effect_tells_a_new_order_and_the_models_that_learnt_from_the_person():
    ada, ben, cleo = make_annotators(3)
    campaign = make_campaign(tasks=0)
    for number in range(40):
        task = task_of(campaign, ["alder", "birch"], split="train" if number % 2 else "test")
        cast(task, ada, 1)
        if number < 30:
            cast(task, ben, 0)
    of_all = take_snapshot(campaign=campaign)
    version = make_version("hps", is_current=True)
    type(version).objects.filter(pk=version.pk).update(snapshot=of_all)
    other = make_version("hps", 2)
    type(other).objects.filter(pk=other.pk).update(snapshot=snapshot_without(ada))

    effect = effect_of(ada)

    (of_campaign,) = effect.campaigns
    assert (of_campaign.votes, of_campaign.votes_before, of_campaign.has_new_order) == (40, 70, True)
    ranks = [(change.generator, change.rank_before, change.rank_after) for change in of_campaign.changes]
    assert ranks == [("birch", 1, 2), ("alder", 2, 1)]
    assert [(trained.version, trained.votes, trained.of) for trained in effect.versions] == [(version, 40, 70)]
    assert effect_of(cleo).campaigns == []


def test_effect_takes_the_order_of_imported_votes_for_no_place():
    """HPD v3 names the chosen image first, always: a leaning by that would leave nothing of the worths."""
    (ada,) = make_annotators(1)
    campaign = make_campaign(tasks=0)
    for number in range(40):
        best = int(number % 4 == 0)
        imported = make_annotator(user=None, source=Annotator.Source.IMPORTED)
        cast(task_of(campaign, ["alder", "birch"]), imported, best, order=[best, 1 - best])
    cast(task_of(campaign, ["alder", "birch"]), ada, 0)

    (of_campaign,) = effect_of(ada).campaigns

    alder, birch = (change.before.log_worth for change in of_campaign.changes)
    assert alder - birch == pytest.approx(math.log(3), abs=0.05)


def snapshot_without(_person: Annotator) -> Snapshot:
    snapshot = Snapshot(sha256="1" * 64, train_choices=1, test_choices=0, prompts=1, images=2, annotators=1)
    snapshot.file.save("other.jsonl", ContentFile(b'{"annotator":"somebody"}\n'))
    return snapshot


def test_quality_gives_each_figure_or_the_reason_why_it_is_undefined(staff):
    people = make_annotators(3)
    campaign = voted_campaign(people)
    address = reverse("dashboard:quality", args=[campaign.slug])

    text = text_of(staff.get(address))
    assert "Krippendorff&#x27;s alpha" in text
    assert "Fleiss&#x27; kappa" in text
    assert "Human ceiling" in text

    lonely = make_campaign(tasks=0)
    cast(task_of(lonely, ["alder", "birch"]), people[0], 0)
    text = text_of(staff.get(reverse("dashboard:quality", args=[lonely.slug])))
    assert text.count("undefined: No two people have done the same task yet.") == 4


def test_quality_shows_the_tasks_that_stand_out(staff):
    campaign = make_campaign(tasks=0)
    people = make_annotators(4)
    split, skipped, flagged, clear = (task_of(campaign, ["alder", "birch"]) for _ in range(4))
    for at, person in enumerate(people):
        cast(split, person, at % 2)
        cast(clear, person, 0)
        cast(skipped, person, Outcome.SKIP, reason="no idea")
    cast(flagged, people[0], Outcome.FLAG, reason="image_broken")

    report = staff.get(reverse("dashboard:quality", args=[campaign.slug])).context["report"]

    assert [item.prompt for item in report.contested] == [split.prompt.text]
    assert [votes for _image, votes in report.contested[0].images] == [2, 2]
    assert [(item.prompt, item.reasons) for item in report.skipped] == [(skipped.prompt.text, ["no idea"] * 4)]
    assert [(item.prompt, item.reasons) for item in report.flagged] == [(flagged.prompt.text, ["image_broken"])]


def test_gold_is_made_by_each_button(staff):
    campaign = make_campaign(tasks=0, slug="birds")
    alder = make_generator()
    tasks = []
    for text in ("a red ship", "two green trees", "a house by night"):
        prompt = make_prompt(text)
        images = [make_image(prompt=prompt, generator=alder) for _ in range(2)]
        tasks.append(make_task(campaign=campaign, images=images, prompt=prompt, votes=0))
    for person in make_annotators(5):
        cast(tasks[0], person, 1)

    def press(way: str, **data) -> list[str]:
        page = staff.post(reverse(f"dashboard:gold-{way}", args=["birds"]), data, follow=True)
        return [str(message) for message in page.context["messages"]]

    assert press("made", count="2", purpose="gold") == ["2 tasks made."]
    assert press("of-one-mind", count="5", purpose="practice") == ["1 task made."]
    by_hand = {"task": tasks[1].public_id, "image": tasks[1].images.first().public_id}
    assert press("by-hand", **by_hand) == ["1 task made."]
    assert press("made", count="1000") == ["Say how many tasks to make, from 1 to 200."]
    assert press("by-hand", task=tasks[1].public_id, image=tasks[2].images.first().public_id) == [
        "The obvious answer must be one of the task's images."
    ]
    purposes = campaign.tasks.exclude(purpose="regular").values_list("purpose", flat=True)
    assert sorted(purposes) == ["gold", "gold", "gold", "practice"]


def test_gold_that_the_settings_give_to_nobody_is_told(staff):
    campaigns = [make_campaign(tasks=0, **fields) for fields in ({}, {"gold_share": 0.1}, {"practice_tasks": 2})]

    pages = [text_of(staff.get(reverse("dashboard:gold", args=[campaign.slug]))) for campaign in campaigns]

    assert ["Nobody gets any of these" in page for page in pages] == [True, False, False]


@pytest.mark.parametrize("data", [{}, {"task": "nonsense"}, {"task": str(uuid4())}])
def test_gold_that_is_not_there_is_not_found(staff, data):
    campaign = make_campaign()

    assert staff.post(reverse("dashboard:gold-by-hand", args=[campaign.slug]), data).status_code == 404
    assert staff.post(reverse("dashboard:gold-retire", args=[campaign.slug]), data).status_code == 404


def test_gold_that_most_get_wrong_is_marked_and_can_be_retired(staff):
    people = make_annotators(5)
    campaign = make_campaign(tasks=0)
    gold = make_task(campaign=campaign, votes=0, purpose=GOLD)
    for person in people:
        cast(gold, person, 1)
    address = reverse("dashboard:gold", args=[campaign.slug])

    assert [row.is_misleading for row in gold_rows([gold])] == [True]
    assert "misleading?" in text_of(staff.get(address))
    press = reverse("dashboard:gold-retire", args=[campaign.slug])
    retired = text_of(staff.post(press, {"task": gold.public_id}, follow=True))
    assert "The task is retired: nobody gets it, and no answer to it counts." in retired
    used = text_of(staff.post(press, {"task": gold.public_id}, follow=True))
    assert "The task is used again, and its answers count." in used
    assert Task.objects.get(pk=gold.pk).retired_at is None


def test_make_gold_command(capsys):
    campaign = make_campaign(tasks=3, has_files=True, slug="birds")

    call_command("make_gold", campaign="birds", count=2, practice=True, json=True)

    assert capsys.readouterr().out == '{"purpose": "practice", "made": 2, "known": 0}\n'
    assert campaign.tasks.filter(purpose="practice").count() == 2
    with pytest.raises(CommandError, match="no campaign 'nowhere'"):
        call_command("make_gold", campaign="nowhere")
    with pytest.raises(CommandError, match="5 people or more"):
        call_command("make_gold", campaign="birds", of_one_mind=5)


def test_pages_of_a_person_say_what_is_synthetic(staff):
    real, simulated, alone = (
        make_annotator(user=None),
        make_annotator(user=None, is_synthetic=True),
        *make_annotators(1),
    )
    voted_campaign([real, simulated], is_synthetic=True)
    voted_campaign([alone], slug="cats")
    words = ("this person is simulated", "some of the others in these figures are simulated")

    said = {
        (name, person): [sentence in text for sentence in words]
        for name in ("person", "exclude")
        for person in (real, simulated, alone)
        for text in [text_of(staff.get(reverse(f"dashboard:{name}", args=[person.public_id])))]
    }

    of_each = {real: [False, True], simulated: [True, False], alone: [False, False]}
    assert said == {(name, person): of_each[person] for name in ("person", "exclude") for person in of_each}
    page = staff.get(reverse("dashboard:exclude", args=[real.public_id])).content.decode()
    assert re.search(r'<h3>Birds <span class="badge badge--synthetic">', page)


def test_pages_mark_what_is_synthetic(staff):
    ada = make_annotator(user=None, is_synthetic=True)
    campaign = make_campaign(tasks=0, is_synthetic=True)
    cast(task_of(campaign, ["alder", "birch"]), ada, 0)

    assert "Synthetic: some of these people are simulated" in text_of(staff.get(reverse("dashboard:people")))
    assert "synthetic" in text_of(staff.get(reverse("dashboard:person", args=[ada.public_id])))
    assert "synthetic" in text_of(staff.get(reverse("dashboard:quality", args=[campaign.slug])))
