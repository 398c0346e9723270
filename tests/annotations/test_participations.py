import pytest

from annotations.models import Participation
from annotations.services.participations import participation_of
from tests.annotations.factories import make_annotator, make_campaign

pytestmark = pytest.mark.django_db


def test_participation_of_is_begun_once() -> None:
    annotator, campaign = make_annotator(), make_campaign(tasks=0)

    first = participation_of(annotator=annotator, campaign=campaign)
    again = participation_of(annotator=annotator, campaign=campaign)

    assert again == first
    assert list(Participation.objects.values_list("annotator", "campaign", "state")) == [
        (annotator.pk, campaign.pk, Participation.State.ACTIVE)
    ]
