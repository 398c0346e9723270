"""The dashboard's pages: who may see them, what they say, what they cost."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotations.models import Annotator, Campaign, Outcome
from annotations.services.claims import claim_slots
from annotations.services.demographics import tell
from tests.annotations.factories import make_annotator, make_annotators, make_campaign, make_user
from tests.annotations.test_voting import vote_on
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, make_version, study_world, task_of
from worker.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ben() -> User:
    return make_user("ben", is_staff=True)


@pytest.fixture
def staff(client: Client, ben: User) -> Client:
    client.force_login(ben)
    return client


def text_of(response) -> str:
    """The page as one line of words."""
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def voted_campaign(**fields) -> Campaign:
    """Four-way, two held-out prompts, three people."""
    campaign = empty_campaign(**fields)
    people = make_annotators(3)
    for chosen in (0, 1):
        task = task_of(campaign, ["alder", "birch", "cedar", "dogwood"])
        for person in people:
            cast(task, person, chosen, shown_ms=2000)
    return campaign


def addresses() -> list[str]:
    campaign = make_campaign()
    of_campaign = [reverse(f"dashboard:{page}", args=[campaign.slug]) for page in ("campaign", "agreement")]
    return [reverse("dashboard:index"), *of_campaign]


def test_pages_send_strangers_to_the_login(client):
    for address in addresses():
        response = client.get(address)

        assert (response.status_code, response["Location"]) == (302, f"{reverse('login')}?next={address}")


def test_pages_refuse_those_who_are_not_staff(client):
    client.force_login(make_user("cleo"))

    assert [client.get(address).status_code for address in addresses()] == [403] * 3


def test_pages_open_to_staff(staff):
    assert [staff.get(address).status_code for address in addresses()] == [200] * 3


def test_pages_only_read(staff):
    assert [staff.post(address).status_code for address in addresses()] == [405] * 3


def test_index_without_a_campaign_says_how_to_begin(staff):
    text = text_of(staff.get(reverse("dashboard:index")))

    assert "No campaign yet" in text
    assert "import_choices" in text
    assert "No model in use" in text
    assert "Nothing has run yet" in text


def test_index_marks_what_is_synthetic(staff):
    make_campaign(name="Toys", is_synthetic=True)

    page = staff.get(reverse("dashboard:index")).content.decode()

    # Once on the campaign and once in the explanation at the foot.
    assert page.count("badge--synthetic") == 2


def test_index_marks_nothing_else_as_synthetic(staff):
    make_campaign()

    assert "synthetic" not in staff.get(reverse("dashboard:index")).content.decode()


def test_campaign_of_no_such_slug_is_not_found(staff):
    assert staff.get(reverse("dashboard:campaign", args=["nowhere"])).status_code == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tasks": 0}, "This campaign has no tasks."),
        ({"state": Campaign.State.DRAFT}, "nobody can vote before the campaign is started"),
        ({}, "cast the first vote"),
    ],
)
def test_campaign_without_votes_says_what_to_do(staff, fields, words):
    campaign = make_campaign(**fields)

    assert words in text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))


def test_campaign_shows_each_number_with_its_interval_and_n(staff):
    campaign = voted_campaign()
    clip = make_version("clip", is_current=True)
    for task in campaign.tasks.all():
        give_scores(clip, task, [4, 3, 2, 1])

    text = text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert "6 held-out choices on 2 prompts" in text
    assert "Top-1 of 4, 95 % interval" in text
    assert "clip-1 in use CLIP score 50.0 % 0.0 to 100.0 % the base 6 2 prompts" in text
    assert "Chance a metric that knows nothing 25.0 % 6" in text
    assert "alder" in text
    assert "Two people agree 100.0 %" in text
    assert "6 votes that count" not in text  # the figure stands above its name, so behind it in the page
    assert "votes that count 6" in text


def test_campaign_without_scores_says_how_to_get_them(staff):
    campaign = voted_campaign()
    make_version("clip", is_current=True)

    text = text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert "No metric has scored these images" in text
    assert "clip-1 (6 choices wait)" in text


def test_campaign_shows_the_ranks_that_each_interval_allows_and_groups_never_compared(staff):
    campaign = empty_campaign()
    people = make_annotators(40)
    for first, second in (("alder", "birch"), ("cedar", "dogwood")):
        task = task_of(campaign, [first, second])
        for turn, person in enumerate(people):
            cast(task, person, int(turn % 8 == 0), order=[1, 0] if turn % 2 else [0, 1])
    address = reverse("dashboard:campaign", args=[campaign.slug])

    apart = staff.get(address)
    cast(task_of(campaign, ["birch", "cedar"]), people[0], 0)
    together = text_of(staff.get(address))

    ranking = apart.context["ranking"]
    assert [(place.generator, band) for place, band in apart.context["ranked"]] == [
        (place.generator, ranking.band(place.generator)) for place in ranking.places
    ]
    assert "so only places within one count: alder, birch cedar, dogwood" in text_of(apart)
    assert re.search(r"Rank, by the interval Generator .* 1-4 alder", text_of(apart))
    assert "so only places within one count" not in together


def test_campaign_takes_the_leaning_to_places_out_of_the_ranking(staff):
    """People choose what stands first, four times in five; that is the alder, three times in four."""
    campaign = empty_campaign()
    for turn, person in enumerate(make_annotators(40)):
        order = [0, 1] if turn % 4 else [1, 0]
        cast(task_of(campaign, ["alder", "birch"]), person, order[0] if turn % 5 else order[1], order=order)

    ranking = staff.get(reverse("dashboard:campaign", args=[campaign.slug])).context["ranking"]

    assert [place.log_worth for place in ranking.places] == pytest.approx([0, 0], abs=0.05)


def test_campaign_of_imported_votes_shows_no_habit_and_says_how_many_there_are(staff):
    """HPD v3 names the chosen image first, always."""
    campaign = empty_campaign()
    for _ in range(2):
        cast(task_of(campaign, ["a", "b"]), make_annotator(source=Annotator.Source.IMPORTED), 0)

    text = text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert "2 imported votes are left out: their order is that of a file, not that of a screen." in text
    assert "Nobody has chosen an image on this site yet" in text


def test_campaign_with_only_ties_has_no_place_and_nothing_held_out(staff):
    campaign = empty_campaign()
    cast(task_of(campaign, ["a", "b"]), make_annotator(), Outcome.TIE)

    text = text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert "Nobody has chosen an image on this site yet" in text
    assert "No held-out choice yet" in text


def test_campaign_of_one_generator_has_nothing_to_rank(staff):
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    task.images.update(generator=None)
    cast(task, make_annotator(), 0)

    assert "Nothing to rank" in text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))


@pytest.mark.parametrize(
    ("adapted", "original", "words"),
    [(12, 0, "Preferred: adapted"), (0, 12, "Not preferred: adapted"), (3, 3, "No difference shown")],
)
def test_campaign_of_a_study_gives_its_verdict_in_words(staff, adapted, original, words):
    campaign = study_world(adapted_wins=adapted, original_wins=original, ties=0)

    text = text_of(staff.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert words in text
    assert "A tie counts half for each" in text


def test_campaign_labels_every_part_of_a_synthetic_one(staff):
    campaign = voted_campaign(is_synthetic=True)

    page = staff.get(reverse("dashboard:campaign", args=[campaign.slug])).content.decode()

    # Title, six sections, and the foot.
    assert page.count('<span class="badge badge--synthetic">') == 8
    assert "simulated annotators" in page


def test_campaign_of_people_is_nowhere_called_synthetic(staff):
    campaign = voted_campaign()

    assert "synthetic" not in staff.get(reverse("dashboard:campaign", args=[campaign.slug])).content.decode()


def test_campaign_shows_who_votes_in_groups_of_ten(staff):
    campaign = make_campaign(tasks=1, votes_per_task=12)
    for number in range(12):
        person = make_annotator(user=None)
        tell(annotator=person, region="asia", age_band="65+" if number < 3 else "")
        vote_on(claim_slots(annotator=person, campaign=campaign, count=1)[0])

    page = " ".join(staff.get(reverse("dashboard:campaign", args=[campaign.slug])).content.decode().split())

    assert '<h3>Region</h3> <dl class="facts"> <dt>Asia</dt><dd>10</dd> </dl>' in page
    assert "65 or older" not in page


def test_agreement_shows_warnings_slices_coefficients_and_calibration(staff):
    campaign = voted_campaign()
    for version in (make_version("clip"), make_version("hps", is_current=True)):
        for task in campaign.tasks.all():
            give_scores(version, task, [4, 3, 2, 1] if version.family == "clip" else [1, 2, 3, 4])

    page = text_of(staff.get(reverse("dashboard:agreement", args=[campaign.slug])))

    assert "hps-1 disagrees with people: it finds the chosen image in 0.0 % (0.0 to 65.8 %), chance in 25.0 %." in page
    assert "6 choices on 2 prompts; chance 25.0 %, human ceiling 100.0 %, highest attainable 100.0 %" in page
    assert "clip-1 inversion score, ties as right (HPS v2) 91.7 % 15.3 to 100.0 % 6 choices" in page
    assert "hps-1 clip-1 −50.0 −100.0 to +100.0 6 p = 1.000 p = 1.000" in page
    assert "n = 4" in page
    assert "Calibration of hps-1 6.0 % predicted, 50.0 % chosen of 12;" in page
    assert "mean distance from the line: 44.0 % (44.0 to 44.0 %)" in page


def test_agreement_without_scores_says_so(staff):
    campaign = voted_campaign()

    page = text_of(staff.get(reverse("dashboard:agreement", args=[campaign.slug])))

    assert "No metric has scored a held-out set" in page


@pytest.mark.parametrize("count", [1, 3])
def test_index_takes_the_same_statements_for_one_campaign_and_three(staff, count, django_assert_num_queries):
    for _ in range(count):
        voted_campaign()

    # Session, user, two of permissions, four of the campaigns, versions, runs.
    with django_assert_num_queries(10):
        staff.get(reverse("dashboard:index"))


@pytest.mark.parametrize("tasks", [1, 3])
def test_campaign_takes_the_same_statements_for_one_task_and_three(staff, tasks, django_assert_num_queries):
    campaign = empty_campaign()
    clip = make_version("clip", is_current=True)
    for _ in range(tasks):
        task = task_of(campaign, ["a", "b"])
        cast(task, make_annotator(), 0)
        give_scores(clip, task, [1, 0])

    # Session, user, campaign, generators, votes, images elsewhere, versions, scores, slots, outcomes, study,
    # stored results, names of references, people, permissions (2).
    with django_assert_num_queries(16):
        staff.get(reverse("dashboard:campaign", args=[campaign.slug]))


def test_pages_hold_no_inline_style_or_script(staff):
    campaign = voted_campaign()
    give_scores(make_version("clip", is_current=True), campaign.tasks.first(), [4, 3, 2, 1])

    for address in (reverse("dashboard:index"), reverse("dashboard:campaign", args=[campaign.slug])):
        page = staff.get(address).content.decode()

        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


def test_index_offers_runs_to_those_who_may_open_them(client, staff):
    text = staff.get(reverse("dashboard:index")).content.decode()

    assert "Retrain classifier" not in text

    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    page = client.get(reverse("dashboard:index")).content.decode()

    assert page.count(f'action="{reverse("worker:open-run")}"') == 2
    assert "Retrain classifier" in page
    assert "Train adapter" in page


def test_score_opens_a_run_of_the_versions_that_lack_scores(client):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    campaign = voted_campaign()
    make_version("clip", is_current=True)
    scored = make_version("aesthetic", is_current=True)
    for task in campaign.tasks.all():
        give_scores(scored, task, [4, 3, 2, 1])

    response = client.post(reverse("dashboard:score", args=[campaign.slug]))

    run = Run.objects.get()
    assert (run.kind, run.campaign, run.config) == ("scoring", campaign, {"versions": ["clip-1"]})
    assert response["Location"] == run.get_absolute_url()


def test_score_goes_to_the_run_that_is_active(client):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    campaign = voted_campaign()
    make_version("clip", is_current=True)
    active = Run.objects.create(kind=Run.Kind.SCORING)

    response = client.post(reverse("dashboard:score", args=[campaign.slug]))

    assert (response["Location"], Run.objects.count()) == (active.get_absolute_url(), 1)


def test_score_with_nothing_missing_opens_nothing(client):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    campaign = voted_campaign()

    response = client.post(reverse("dashboard:score", args=[campaign.slug]))

    assert (response["Location"], Run.objects.count()) == (reverse("dashboard:campaign", args=[campaign.slug]), 0)


def test_score_is_for_those_who_may_open_runs(staff):
    assert staff.post(reverse("dashboard:score", args=[voted_campaign().slug])).status_code == 403
