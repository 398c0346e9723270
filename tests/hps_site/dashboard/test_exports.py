"""The download of a campaign's votes: who may have it, and that it is whole."""

import csv
import io

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from annotations.models import Snapshot, Vote
from hps_site.dashboard.views import exports
from tests.annotations.factories import make_user
from tests.hps_site.dashboard.test_views import voted_campaign

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    ben = make_user("ben", is_staff=True)
    ben.user_permissions.set(Permission.objects.filter(codename="view_vote"))
    client.force_login(ben)
    return client


def test_export_gives_every_counted_vote_as_a_file(staff: Client) -> None:
    campaign = voted_campaign()
    address = f"/dashboard/{campaign.slug}/export/"
    assert f'action="{address}"' in staff.get(f"/dashboard/{campaign.slug}/").content.decode()

    response = staff.post(address, {"format": "csv"})

    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["vote"] for row in rows] == [str(vote.public_id) for vote in Vote.objects.order_by("task", "pk")]
    name = f"{campaign.slug}-{Snapshot.objects.get().sha256[:12]}.csv"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'


def test_export_refuses_forms_and_sizes_that_are_no_download(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = voted_campaign()
    address = f"/dashboard/{campaign.slug}/export/"

    assert "either csv or parquet" in staff.post(address, {"format": "hpd"}, follow=True).content.decode()
    monkeypatch.setattr(exports, "MAX_VOTES", 5)
    assert "too many votes for a download" in staff.post(address, follow=True).content.decode()
    assert Snapshot.objects.count() == 0


def test_export_is_for_staff_who_may_see_votes_and_never_a_link(staff: Client) -> None:
    campaign = voted_campaign()
    address = f"/dashboard/{campaign.slug}/export/"

    assert staff.get(address).status_code == 405
    assert Client().post(address).status_code == 302
    for person in (make_user("cleo"), make_user("dan", is_staff=True)):
        other = Client()
        other.force_login(person)
        assert other.post(address).status_code == 403
    assert staff.post("/dashboard/none/export/").status_code == 404
