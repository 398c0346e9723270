"""The pages on which staff look through what an adapter will learn from."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from hps_site.dashboard.queries.labellings import Left, Wanted, left_in, page_of_prompts
from hps_site.dashboard.spread_charts import spread_chart
from tests.annotations.factories import make_user
from tests.worker.generators import make_tiny_generator
from tests.worker.labels import make_labelling
from worker.models import Run

pytestmark = pytest.mark.django_db

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def ben():
    person = make_user("ben", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=["add_run", "change_label"]))
    return person


@pytest.fixture
def staff(client, ben):
    client.force_login(ben)
    return client


@pytest.fixture
def reader(client):
    client.force_login(make_user("cleo", is_staff=True))
    return client


def page_of(labelling):
    return reverse("dashboard:labelling", args=[labelling.public_id])


def act(labelling, label, way):
    return reverse(f"dashboard:{way}", args=[labelling.public_id, label.pk])


def prompts_shown(labelling, **asked):
    _page, rows = page_of_prompts(labelling, Wanted.of(asked), asked.get("page"))
    return [row.prompt for row in rows]


def test_labelling_shows_preferred_beside_non_preferred_with_their_figures(staff):
    labelling = make_labelling()

    text = staff.get(page_of(labelling)).content.decode()

    for label in labelling.labels.all():
        assert f'src="{label.image.get_absolute_url()}"' in text
    assert text.count(">Strike out<") == 4  # nothing learns from what people rejected
    assert "<strong>2</strong> preferred and <strong>2</strong> non-preferred; 0 struck out" in " ".join(text.split())
    assert ("synthetic" in text.lower(), "90.0 %" in text, labelling.sha256 in text) == (True, True, True)


@pytest.mark.parametrize("address", ["labellings", "labelling"])
def test_pages_of_labellings_are_for_staff_alone(client, address):
    page = reverse(f"dashboard:{address}", args=[make_labelling().public_id] if address == "labelling" else [])
    assert client.get(page).status_code == 302
    client.force_login(make_user("visitor"))
    assert client.get(page).status_code == 403


def test_labelling_asks_as_often_for_many_prompts_as_for_one(staff, django_assert_num_queries):
    one, many = make_labelling(1), make_labelling(5)
    staff.get(page_of(one))
    for labelling in (one, many):
        with django_assert_num_queries(13):
            staff.get(page_of(labelling))


def test_list_asks_as_often_for_many_labellings_as_for_one(staff, django_assert_num_queries):
    page = reverse("dashboard:labellings")
    staff.get(page)
    for count in (1, 2):
        for _ in range(count):
            make_labelling()
        with django_assert_num_queries(6):
            assert staff.get(page).status_code == 200


def test_page_of_prompts_goes_on_after_twelve():
    labelling = make_labelling(13)
    every = sorted(labelling.labels.values_list("image__prompt__text", flat=True).distinct())

    assert prompts_shown(labelling) == every[:12]
    assert prompts_shown(labelling, page="2") == every[12:]


def test_page_of_prompts_filters_and_sorts():
    labelling = make_labelling(3)
    of_people = labelling.labels.filter(source="people").first().image.prompt.text
    first = labelling.labels.filter(kind="non_preferred").order_by("confidence").first()
    struck = labelling.labels.filter(kind="preferred", source="hps").first()
    labelling.labels.filter(pk=struck.pk).update(struck_out_at=labelling.created_at)

    assert prompts_shown(labelling, source="people") == [of_people]
    assert prompts_shown(labelling, kind="struck_out") == [struck.image.prompt.text]
    assert prompts_shown(labelling, text=of_people.upper()) == [of_people]
    assert prompts_shown(labelling, order="unsure")[0] == first.image.prompt.text
    assert prompts_shown(labelling, kind="spare") == []
    assert prompts_shown(labelling, kind="nonsense", order="nonsense", source="nonsense") == prompts_shown(labelling)


def test_strike_out_without_javascript_goes_back_to_the_image_on_its_page(staff, ben):
    labelling = make_labelling()
    label = labelling.labels.get(kind="preferred", source="people")

    response = staff.post(f"{act(labelling, label, 'strike-out')}?kind=preferred&page=1")

    assert response.headers["Location"] == f"{page_of(labelling)}?kind=preferred&page=1#label-{label.pk}"
    label.refresh_from_db()
    assert (label.is_left, label.struck_out_by) == (False, ben)
    staff.post(act(labelling, label, "unstrike"))
    label.refresh_from_db()
    assert (label.is_left, label.struck_out_by) == (True, None)


def test_strike_out_by_htmx_gives_the_image_and_the_counts_anew(staff):
    labelling = make_labelling()
    label = labelling.labels.get(kind="non_preferred", source="hps")

    text = staff.post(act(labelling, label, "strike-out"), **HTMX).content.decode()

    assert text.lstrip().startswith(f'<figure class="label label--struck" id="label-{label.pk}">')
    assert text.count("<figure") == 1
    assert 'hx-swap-oob="innerHTML:#left"' in text
    assert "1</strong> non-preferred; 1 struck out" in text
    assert act(labelling, label, "unstrike") in text
    assert left_in(labelling) == Left(preferred=2, non_preferred=1, struck_out=1)


def test_strike_out_of_the_last_one_of_a_kind_says_that_training_needs_both(staff):
    labelling = make_labelling(1)

    assert "needs images of both kinds" not in staff.get(page_of(labelling)).content.decode()
    address = act(labelling, labelling.labels.get(kind="preferred"), "strike-out")
    assert "needs images of both kinds" in staff.post(address, **HTMX).content.decode()


def test_strike_out_needs_its_permission(reader):
    labelling = make_labelling()
    label = labelling.labels.get(kind="preferred", source="people")

    assert "Strike out" not in reader.get(page_of(labelling)).content.decode()
    for way in ("strike-out", "unstrike"):
        assert reader.post(act(labelling, label, way)).status_code == 403
    assert reader.post(reverse("dashboard:train-on-labelling", args=[labelling.public_id])).status_code == 403
    label.refresh_from_db()
    assert label.is_left


def test_strike_out_of_what_nothing_learns_from_says_so(staff):
    labelling = make_labelling()
    label = labelling.labels.filter(kind="rejected").first()

    text = staff.post(act(labelling, label, "strike-out"), follow=True).content.decode()

    assert "no training learns from it anyway" in text
    label.refresh_from_db()
    assert label.struck_out_at is None


def test_strike_out_of_another_labellings_image_is_not_found(staff):
    labelling, other = make_labelling(), make_labelling()

    assert staff.post(act(labelling, other.labels.first(), "strike-out")).status_code == 404


def test_train_opens_a_run_on_this_labelling(staff, ben, monkeypatch):
    monkeypatch.setattr("worker.services.runs._send", lambda _run: None)
    labelling = make_labelling()

    response = staff.post(reverse("dashboard:train-on-labelling", args=[labelling.public_id]), {"preset": "paper"})

    run = Run.objects.get()
    assert response.headers["Location"] == run.get_absolute_url()
    assert (run.kind, run.preset, run.config, run.requested_by) == (
        "adapter",
        "paper",
        {"labelling": str(labelling.public_id)},
        ben,
    )


def test_train_asks_whose_model_is_adapted_where_the_labelling_does_not_say(staff, monkeypatch):
    monkeypatch.setattr("worker.services.runs._send", lambda _run: None)
    labelling = make_labelling(generator=make_tiny_generator("named"))
    make_tiny_generator("adapted", adapter="adapter-1")
    address = reverse("dashboard:train-on-labelling", args=[labelling.public_id])
    assert "<option selected>named</option>" in staff.get(page_of(labelling)).content.decode()
    del labelling.settings["generator"]
    labelling.save(update_fields=["settings"])

    page = staff.get(page_of(labelling)).content.decode()
    unasked = staff.post(address, {"preset": "tiny", "generator": ""}, follow=True).content.decode()

    assert ('<option value="">Adapt the model of …</option>' in page, "<option>named</option>" in page) == (True, True)
    assert "<option>adapted</option>" not in page
    assert ("names no generator" in unasked, Run.objects.exists()) == (True, False)
    staff.post(address, {"preset": "tiny", "generator": "named"})
    assert Run.objects.get().config == {"labelling": str(labelling.public_id), "generator": "named"}


def test_train_with_an_unknown_preset_opens_nothing(staff):
    labelling = make_labelling()

    text = staff.post(
        reverse("dashboard:train-on-labelling", args=[labelling.public_id]), {"preset": "huge"}, follow=True
    ).content.decode()

    assert ("There is no preset" in text, Run.objects.exists()) == (True, False)


def test_spread_chart_stacks_what_is_counted():
    spread = {"edges": [-2.0, 0.0, 2.0], "others": [3, 1], "non_preferred": [1, 0], "preferred": [0, 2]}

    chart = spread_chart(spread)

    assert [bar.counts for bar in chart.bars] == [
        {"others": 3, "non_preferred": 1, "preferred": 0},
        {"others": 1, "non_preferred": 0, "preferred": 2},
    ]
    first, second = chart.bars
    assert [(piece.kind, piece.count) for piece in first.pieces] == [("others", 3), ("non_preferred", 1)]
    assert first.pieces[1].y + first.pieces[1].height == pytest.approx(first.pieces[0].y)
    assert sum(piece.height for piece in first.pieces) == pytest.approx(chart.baseline - chart.rows[-1].at)
    assert first.x < second.x
    assert [tick.label for tick in chart.columns] == ["−2", "−1.5", "−1", "−0.5", "0", "+0.5", "+1", "+1.5", "+2"]
    assert spread_chart({}) is None
