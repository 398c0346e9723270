"""One person's part in one campaign, from the first look to the end."""

from annotations.models import Annotator, Campaign, Participation


def participation_of(*, annotator: Annotator, campaign: Campaign) -> Participation:
    """The person's part in the campaign, begun on the first need; safe when asked twice at the same moment."""
    return Participation.objects.get_or_create(annotator=annotator, campaign=campaign)[0]
