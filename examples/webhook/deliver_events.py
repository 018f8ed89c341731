#!/usr/bin/env python3
"""Delivers pg_tollgate's quota events to a webhook. Needs psycopg 3 (Debian: python3-psycopg), DATABASE_URL of a
login that may be service_role, WEBHOOK_URL, and WEBHOOK_TOKEN if the receiver asks for one.

Each event is acknowledged after the receiver has answered with 2xx. Anything else leaves it in the outbox, and it comes
again after the lease. So an event arrives at least once: receivers recognize a repetition by its Idempotency-Key."""
import os
import sys
import time
import urllib.request

import psycopg

LEASE, BATCH, TIMEOUT, PAUSE = "30 seconds", 5, 5, 2  # BATCH times TIMEOUT is less than the lease


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        """A redirected POST would arrive as a GET without the event."""


opener = urllib.request.build_opener(NoRedirects)


def post(event_id, body):
    headers = {"Content-Type": "application/json", "Idempotency-Key": event_id}
    if token := os.environ.get("WEBHOOK_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    opener.open(urllib.request.Request(os.environ["WEBHOOK_URL"], body.encode(), headers), timeout=TIMEOUT).close()


with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, options="-c role=service_role") as database:
    while True:
        # The body is text, so that no amount passes through a float.
        claim = "select id::text, to_jsonb(e)::text from claim_quota_events(%s, %s::interval) e order by created_at, threshold, id"
        events, delivered = database.execute(claim, (BATCH, LEASE)).fetchall(), 0
        for event_id, body in events:
            try:
                post(event_id, body)
            except Exception as error:
                print(f"{event_id} is not delivered: {error}", file=sys.stderr, flush=True)
            else:
                database.execute("select acknowledge_quota_events(%s::text[]::uuid[])", ([event_id],))
                delivered += 1
        if delivered < len(events) or not events:
            time.sleep(PAUSE)
