"""What people send by plain forms: an account, and a vote without JavaScript."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext_lazy

from annotations.models import Demographics, Outcome

# What Django says where people register, and has not translated into each of our languages. Named here, the texts come
# into our catalogues, which go before Django's own.
SAID_BY_DJANGO = (
    gettext_noop("Enter the same password as before, for verification."),
    gettext_noop("Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."),
    gettext_noop("The password is too similar to the %(verbose_name)s."),
    gettext_noop("The two password fields didn’t match."),
    gettext_noop("This password is entirely numeric."),
    gettext_noop("This password is too common."),
    gettext_noop("Your password can’t be a commonly used password."),
    gettext_noop("Your password can’t be entirely numeric."),
    gettext_noop("Your password can’t be too similar to your other personal information."),
)
COUNTED_BY_DJANGO = (
    ngettext_lazy(
        "Ensure this value has at most %(limit_value)d character (it has %(show_value)d).",
        "Ensure this value has at most %(limit_value)d characters (it has %(show_value)d).",
    ),
    ngettext_lazy(
        "This password is too short. It must contain at least %d character.",
        "This password is too short. It must contain at least %d characters.",
    ),
    ngettext_lazy(
        "Your password must contain at least %(min_length)d character.",
        "Your password must contain at least %(min_length)d characters.",
    ),
)


class RegistrationForm(UserCreationForm):
    """A name and a password; nothing else is asked for."""

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["username"].help_text = _("Letters, digits and @/./+/-/_ only.")
        self.fields["username"].widget.attrs.update(autocomplete="username", autocapitalize="none", spellcheck="false")


class LoginForm(AuthenticationForm):
    """Django's own, with labels like those of every other form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class VoteForm(forms.Form):
    """One press of one button: `image` for a choice, `flag` or `skip` with a reason, or `outcome` for the rest."""

    token = forms.UUIDField()
    key = forms.UUIDField()
    image = forms.UUIDField(required=False)
    flag = forms.CharField(required=False, max_length=200)
    skip = forms.CharField(required=False, max_length=200)
    outcome = forms.ChoiceField(required=False, choices=Outcome.choices)

    def clean(self) -> dict[str, Any]:
        """The keyword arguments of `record_vote`, without who votes."""
        pressed = super().clean() or {}
        image, flag, skip = pressed.get("image"), pressed.get("flag", ""), pressed.get("skip", "")
        said = {Outcome.CHOICE: image, Outcome.FLAG: flag, Outcome.SKIP: skip}
        outcome = next((outcome for outcome, value in said.items() if value), pressed.get("outcome"))
        if not outcome:
            raise forms.ValidationError("Press one of the buttons.")
        return {
            "token": pressed.get("token"),
            "idempotency_key": pressed.get("key"),
            "outcome": outcome,
            "image": image,
            "reason": flag or skip,
        }


class DemographicsForm(forms.ModelForm):
    """What a person tells of themselves; 'prefer not to say' is the answer to begin with."""

    class Meta:
        model = Demographics
        fields = ("age_band", "region", "gender", "design_experience")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class ErasureForm(forms.Form):
    """Said by a tick, so that no single press ends an account."""

    is_sure = forms.BooleanField(label=_("I understand that this cannot be undone"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
