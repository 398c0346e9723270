"""How long a claim takes with a thousand tasks and with a hundred thousand, before and after most of the work is done.

Run: make bench-claims [CLAIMS="--tasks 1000 100000 --policies uniform"]

In a database of its own on the embedded Postgres, dropped afterwards. Twenty people in turn claim and answer three sets
at a time, by the services that the site uses; a claim that gives three is counted as three. The worlds are synthetic:
twelve generators, two votes on each pair of images, no files.
"""

import argparse
import os
import statistics
import time
from itertools import combinations
from uuid import uuid4

import django
from django.conf import settings
from django.db import connection

from hps_site import embedded

GENERATORS, PEOPLE, AT_ONCE = 12, 20, 3
DONE_SHARE = 0.8

# Two people who are not timed answer all but a fifth of the tasks, each once: slots done, and votes on them.
DO_MOST = """
    WITH done AS (
        UPDATE annotations_slot AS slot
        SET state = 'done', annotator_id = (%(people)s::bigint[])[slot.number + 1], "order" = shown.images
        FROM (
            SELECT candidate.task_id, array_agg(candidate.image_id) AS images
            FROM annotations_candidate AS candidate GROUP BY candidate.task_id
        ) AS shown
        WHERE shown.task_id = slot.task_id AND slot.state = 'open' AND slot.campaign_id = %(campaign)s
          AND slot.task_id %% 1000 < 1000 * %(share)s
        RETURNING slot.*
    )
    INSERT INTO annotations_vote (
        public_id, slot_id, task_id, annotator_id, outcome, image_id, reason, "order", hidden_ms, client, is_too_fast,
        instructions_version, idempotency_key
    )
    SELECT gen_random_uuid(), id, task_id, annotator_id, 'choice', "order"[1], '', "order", 0, '{}', false, 1,
           gen_random_uuid()
    FROM done
"""


def main() -> None:
    """Print claims a second, and how much longer a claim takes in the largest campaign than in the smallest."""
    wanted = arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
    with embedded.services():
        django.setup()
        connection.creation.create_test_db(verbosity=0)
        try:
            compare(wanted)
        finally:
            connection.creation.destroy_test_db(str(settings.DATABASES["default"]["NAME"]), verbosity=0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--policies", nargs="+", default=["uniform", "focused"])
    parser.add_argument("--claims", type=int, default=150, help="claims timed in each case")
    return parser.parse_args()


def compare(wanted: argparse.Namespace) -> None:
    print(f"{'policy':<9} {'tasks':>7} {'done':>5} {'claims/s':>9} {'median ms':>10} {'95th ms':>8}")
    medians: dict[tuple[str, bool], list[float]] = {}
    for tasks in wanted.tasks:
        campaign = make_campaign(tasks)
        for is_done in (False, True):
            if is_done:
                do_most(campaign)
            for policy in wanted.policies:
                campaign.pair_policy = policy
                campaign.save()
                times = time_claims(campaign, wanted.claims)
                medians.setdefault((policy, is_done), []).append(statistics.median(times))
                print(
                    f"{policy:<9} {tasks:>7} {DONE_SHARE if is_done else 0:>5.0%} {len(times) / sum(times):>9.0f}"
                    f" {1000 * statistics.median(times):>10.2f} {1000 * statistics.quantiles(times, n=20)[-1]:>8.2f}"
                )
    for (policy, is_done), each in medians.items():
        when = "most done" if is_done else "nothing done"
        print(f"{policy}, {when}: {each[-1] / each[0]:.2f} times as long with {wanted.tasks[-1]} tasks")


def make_campaign(tasks: int):  # noqa: ANN201 the models can be imported only now
    from annotations.models import Campaign, Generator, Image, Prompt
    from annotations.models.library import text_sha256
    from annotations.services.tasks import CandidateSet, create_tasks

    pairs = list(combinations(range(GENERATORS), 2))
    generators = [Generator.objects.get_or_create(name=f"generator {number}")[0] for number in range(GENERATORS)]
    prompts = Prompt.objects.bulk_create(
        Prompt(text=text, text_hash=text_sha256(text), sketch=[])
        for text in (f"scene {number} of {tasks}" for number in range(-(-tasks // len(pairs))))
    )
    images = Image.objects.bulk_create(
        (
            Image(prompt=prompt, generator=maker, sha256=text_sha256(str(prompt)), format="PNG", width=9, height=9)
            for prompt in prompts
            for maker in generators
        ),
        batch_size=5000,
    )
    campaign = Campaign.objects.create(
        slug=f"claims-{tasks}", name=f"{tasks} tasks", state=Campaign.State.RUNNING, votes_per_task=2
    )
    sets = [
        CandidateSet(prompt, [images[number * GENERATORS + member] for member in pair])
        for number, prompt in enumerate(prompts)
        for pair in pairs
    ]
    create_tasks(campaign=campaign, sets=sets[:tasks])
    analyse()
    return campaign


def analyse() -> None:
    """As autovacuum would, sooner or later."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def do_most(campaign) -> None:  # noqa: ANN001
    from annotations.models import Annotator

    people = [Annotator.objects.create(source=Annotator.Source.SIMULATED).pk for _ in range(2)]
    with connection.cursor() as cursor:
        cursor.execute(DO_MOST, {"campaign": campaign.pk, "share": DONE_SHARE, "people": people})
    analyse()


def time_claims(campaign, claims: int) -> list[float]:  # noqa: ANN001
    """Seconds for each claim, of new people who answer what they get."""
    from annotations.models import Annotator
    from annotations.services.voting import claim_slots, record_vote

    people = Annotator.objects.bulk_create(Annotator(source=Annotator.Source.SIMULATED) for _ in range(PEOPLE))
    times: list[float] = []
    while len(times) < claims:
        for person in people:
            started = time.perf_counter()
            slots = claim_slots(annotator=person, campaign=campaign, count=AT_ONCE)
            if not slots:
                return times
            times += [(time.perf_counter() - started) / len(slots)] * len(slots)
            for slot in slots:
                record_vote(annotator=person, token=slot.token, outcome="tie", idempotency_key=uuid4())
    return times


if __name__ == "__main__":
    main()
