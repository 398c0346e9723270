"""What people tell of themselves: only what they want to, changed and taken back whenever they like."""

from annotations.models import Annotator, Demographics


def tell(
    *, annotator: Annotator, age_band: str = "", region: str = "", gender: str = "", design_experience: str = ""
) -> Demographics:
    """The person's answers in place of earlier ones; an empty one is 'prefer not to say'."""
    answers = {"age_band": age_band, "region": region, "gender": gender, "design_experience": design_experience}
    return Demographics.objects.update_or_create(annotator=annotator, defaults=answers)[0]


def forget(*, annotator: Annotator) -> None:
    """All that the person told of themselves, deleted."""
    Demographics.objects.filter(annotator=annotator).delete()
