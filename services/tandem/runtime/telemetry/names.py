"""Every metric, span and log event that Tandem writes: the one place where they get their names.

The reference in the documentation is made from this file, and tests see to it that dashboards,
alerts and log calls use no other names. Labels hold ids and stable words, never a caller's
number, a digit, a person's name or any other private value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a metric behaves."""

    COUNTER = "counter"
    """Only grows; begins at 0 with its process."""
    GAUGE = "gauge"
    """Goes up and down."""
    HISTOGRAM = "histogram"
    """Counts of values up to each bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric, by the name that Prometheus shows."""

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """As OTLP writes it (UCUM)."""
        for word, unit in (("_seconds", "s"), ("_bytes", "By")):
            if self.name.removesuffix("_total").endswith(word):
                return unit
        return "1"


@dataclass(frozen=True, slots=True)
class SpanName:
    """A span, with the attributes that it may have."""

    name: str
    doc: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogEvent:
    """The first words of a log line, and what the line means to who reads it."""

    name: str
    level: str
    doc: str


METRICS: dict[str, Metric] = {}
SPANS: dict[str, SpanName] = {}
LOG_EVENTS: dict[str, LogEvent] = {}


def _metric(kind: Kind, name: str, doc: str, *labels: str, bounds: tuple[float, ...] = ()) -> Metric:
    METRICS[name] = row = Metric(name, kind, doc, labels, bounds)
    return row


def _counter(name: str, doc: str, *labels: str) -> Metric:
    return _metric(Kind.COUNTER, name, doc, *labels)


def _gauge(name: str, doc: str, *labels: str) -> Metric:
    return _metric(Kind.GAUGE, name, doc, *labels)


def _histogram(name: str, bounds: tuple[float, ...], doc: str, *labels: str) -> Metric:
    return _metric(Kind.HISTOGRAM, name, doc, *labels, bounds=bounds)


def _span(name: str, doc: str, *attributes: str) -> str:
    SPANS[name] = SpanName(name, doc, attributes)
    return name


def _line(name: str, level: str, doc: str) -> str:
    LOG_EVENTS[name] = LogEvent(name, level, doc)
    return name


QUICK = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Bounds for what should take milliseconds."""
PATIENT = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Bounds for what people do."""

# ------------------------------------------------------------------- contacts and queues

CONTACTS = _gauge(
    "tandem_contacts", "Contacts that are not over, by their state; counted every few seconds.", "tenant", "state"
)
CONTACTS_STARTED = _counter("tandem_contacts_started_total", "Contacts that began: call set-ups.", "tenant")
CONTACTS_TURNED_AWAY = _counter(
    "tandem_contacts_turned_away_total", "Calls refused before they became a contact.", "tenant", "reason"
)
CONTACTS_ENDED = _counter("tandem_contacts_ended_total", "Contacts that ended, by outcome.", "tenant", "outcome")
CONTACT_WAIT = _histogram(
    "tandem_contact_wait_seconds", PATIENT, "From entering the line to talking with an agent.", "tenant"
)
QUEUE_LENGTH = _gauge("tandem_queue_length", "Contacts in line, those being offered among them.", "tenant", "queue")
QUEUE_OLDEST = _gauge("tandem_queue_oldest_wait_seconds", "Longest wait of those in line.", "tenant", "queue")
OFFERS_ENDED = _counter(
    "tandem_offers_ended_total", "Offers to agents, by how they ended; ACCEPTED is answered.", "tenant", "outcome"
)
CALLERS_MOVED = _counter(
    "tandem_callers_moved_total",
    "Waiting callers whom another media node was to take over: MOVED, or why they stayed.",
    "tenant",
    "outcome",
)
OFFER_LATENCY = _histogram(
    "tandem_offer_latency_seconds",
    QUICK,
    "From beginning to decide that an agent's phone rings, durable first, to the ring command that leaves. "
    "With an agent idle that is queued to ring command.",
)
AGENTS = _gauge("tandem_agents", "Agents by what routing has them do.", "tenant", "state")

# ------------------------------------------------------------------- shards and the log

SHARD_LIVE = _gauge("tandem_shard_live", "1 while this process owns the shard and serves it.", "group", "shard")
SHARD_EPOCH = _gauge("tandem_shard_epoch", "Epoch of the shard's current owner.", "group", "shard")
SHARD_LOST = _counter("tandem_shard_lost_total", "Times that this process lost a shard.", "group", "shard")
TAKEOVER = _histogram(
    "tandem_takeover_seconds",
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
    "From beginning to read a shard's log to serving clients.",
    "group",
)
STEP = _histogram("tandem_step_seconds", QUICK, "A turn of a shard that decided something.", "group")
APPEND = _histogram(
    "tandem_append_seconds", QUICK, "From handing a commit to the log to having read it back as counted.", "group"
)
EVENTS = _counter("tandem_events_total", "Durable events, by their type.", "type")
COMMITS = _counter("tandem_commits_total", "Durable commits of this process.", "group")
IN_FLIGHT = _gauge("tandem_commits_in_flight", "Commits appended and not read back yet.", "group", "shard")
INPUTS_WAITING = _gauge("tandem_inputs_waiting", "Inputs that are not decided yet.", "group", "shard")
EFFECTS_PENDING = _gauge(
    "tandem_effects_pending", "Effects that no event has settled; timers are kind wake.", "group", "shard", "kind"
)
SHARD_COUNTS = _counter(
    "tandem_shard_faults_total",
    "What went wrong in a shard and was survived: refused inputs and messages, quarantined aggregates, by what it was.",
    "group",
    "shard",
    "what",
)
SHARD_STANDS = _gauge(
    "tandem_shard_holds", "What a shard holds that should be none: aggregates in quarantine.", "group", "shard", "what"
)
SHARD_ROWS = _gauge(
    "tandem_shard_rows",
    "What a shard's owner has in memory: its state's rows, and what it keeps beside them. None may grow with the "
    "contacts that are over.",
    "group",
    "shard",
    "what",
)
INBOX_LAG = _gauge(
    "tandem_inbox_lag_commits", "Commits of another group that this shard has not looked through.", "group", "shard"
)
ERASURES_PENDING = _gauge(
    "tandem_erasures_pending", "Erasures that are ordered and not done; those that storage refused come again."
)
VIEW_LAG = _gauge("tandem_view_lag_commits", "Commits that a view has not stored yet.", "view", "shard")

# ------------------------------------------------------------------- processes

LOOP_STALL = _histogram(
    "tandem_loop_stall_seconds",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
    "How late the event loop came to a timer, ten times a second.",
)
LOOP_STALL_MAX = _gauge("tandem_loop_stall_max_seconds", "The longest such delay of the last minute.")
TASKS = _gauge("tandem_tasks", "Tasks of the event loop; none of them belongs to a contact.")
GC_RUNS = _counter("tandem_gc_runs_total", "Collections of garbage, by generation; 2 is a full one.", "generation")
GC_SECONDS = _counter("tandem_gc_seconds_total", "Time in which nothing ran because garbage was collected.")
LINK_CONNECTS = _counter("tandem_link_connects_total", "Connections made to a media node.", "node")
LINK_UP = _gauge("tandem_link_up", "1 while a shard can command the node.", "node", "shard")
LINK_DRAINING = _gauge("tandem_link_draining", "1 while the node says that it takes no new callers.", "node")
SPANS_LOST = _counter("tandem_spans_lost_total", "Spans that the collector did not take.")
PUSHES_FAILED = _counter("tandem_pushes_failed_total", "Pushes of metrics that the collector did not take.")
SERIES_DROPPED = _counter(
    "tandem_series_folded_total", "Values counted as `other`, because a metric had too many label values.", "metric"
)
SOURCES_FAILED = _counter("tandem_metric_sources_failed_total", "Sources of metrics that could not be read.")

# ------------------------------------------------------------------- the public API

API_REQUESTS = _counter("tandem_api_requests_total", "Calls to the API, over gRPC and REST.", "method", "code")
API_SECONDS = _histogram(
    "tandem_api_request_seconds",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    "From a call to its answer; a stream's is its beginning.",
    "method",
)

# ------------------------------------------------------------------- the media node

MEDIA_LEGS = _gauge("tandem_media_legs", "Legs that live on the node.", "direction")
MEDIA_CALLS = _counter("tandem_media_calls_total", "Calls that arrived at the node.")
MEDIA_REFUSED = _counter("tandem_media_calls_refused_total", "Calls that the node refused.", "reason")
RTP_PACKETS = _counter("tandem_rtp_packets_total", "RTP packets.", "direction")
RTP_LATE_TICKS = _counter("tandem_rtp_late_ticks_total", "20 ms frames that were skipped because the node was late.")
RTP_TICK_DELAY = _histogram(
    "tandem_rtp_send_delay_seconds",
    (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    "How late a frame was sent: the jitter that the node itself adds.",
)
SIP_MESSAGES = _counter(
    "tandem_sip_messages_total", "SIP messages by direction and by method or status.", "direction", "kind"
)
RECORDINGS_OPEN = _gauge("tandem_recordings_spooled", "Recordings under way or not stored yet.")
SPOOL_BEHIND = _gauge("tandem_recording_spool_behind", "Pieces of work that wait for the disk of the spool.")
REGISTRATIONS = _gauge("tandem_media_registrations", "Devices that are registered at the node.")
SWITCH_READY = _gauge("tandem_freeswitch_ready", "1 while FreeSWITCH answers the media agent.")
SWITCH_FRAMES = _counter("tandem_freeswitch_frames_total", "Events and answers of FreeSWITCH that were worked off.")
SWITCH_BEHIND = _gauge("tandem_freeswitch_frames_waiting", "Frames of FreeSWITCH that wait to be worked off.")
GATEWAY_UP = _gauge(
    "tandem_gateway_up",
    "1 while FreeSWITCH would call through the gateway: it answers, and is registered where it has to be. None while "
    "FreeSWITCH does not answer.",
    "gateway",
)
OWNERS_LINKED = _gauge("tandem_media_owner_links", "Links of shards' owners to the node.")
EVENTS_KEPT = _gauge("tandem_media_events_kept", "Events that no owner has acknowledged yet.")
KEYS_KEPT = _gauge("tandem_media_command_keys", "Commands that the node remembers.")
DRAINING = _gauge("tandem_media_draining", "1 while the node takes no new callers because an operator empties it.")
JOURNAL_AWAY = _gauge("tandem_media_journal_away", "1 while the journal cannot be written: new calls are refused.")

# ------------------------------------------------------------------- spans

CONTACT_SPAN = _span(
    "contact",
    "A contact, from its call to its outcome: the root of its trace.",
    "tandem.contact",
    "tandem.tenant",
    "tandem.outcome",
    "tandem.number",
)
ARRIVAL_SPAN = _span(
    "media.arrival", "The node: from the INVITE to the call journalled and told.", "tandem.contact", "tandem.node"
)
DECIDE_SPAN = _span(
    "decide",
    "One input decided: the step that it was part of.",
    "tandem.tenant",
    "tandem.stream",
    "tandem.input",
    "tandem.source",
    "tandem.events",
    "tandem.commit",
    "tandem.owner",
    "tandem.refused",
)
APPEND_SPAN = _span("append", "The commit on its way to durable: appended, and read back as counted.", "tandem.commit")
EFFECT_SPAN = _span(
    "effect",
    "An effect, from being sent to being settled.",
    "tandem.effect",
    "tandem.verb",
    "tandem.again",
    "tandem.outcome",
    "tandem.reason",
    "tandem.settled_by",
)
COMMAND_SPAN = _span(
    "media.command", "The node: from a command's arrival to its outcome.", "tandem.effect", "tandem.verb", "tandem.node"
)
WAIT_SPAN = _span("wait", "In line for a queue.", "tandem.queue", "tandem.left")
RING_SPAN = _span("ring", "An agent's phone rings, until it is answered or not.", "tandem.agent", "tandem.offer")
TALK_SPAN = _span("talk", "Caller and agent talk.", "tandem.agent", "tandem.queue")
RECORDING_SPAN = _span("recording", "A recording, until it stands whole in the blobs.", "tandem.recording")
API_SPAN = _span("api", "A call to the API that came with a trace.", "rpc.method", "rpc.grpc.status_code")

# ------------------------------------------------------------------- log lines

HASH_DIFFERS = _line(
    "state hash differs", "error", "Runbook `hash-differs`: this process' state is not what the log says."
)
SHARD_LOST_LINE = _line("shard lost", "warning", "Another owner claimed it, or the log failed; it is claimed anew.")
SNAPSHOT_PASSED = _line("snapshot passed over", "warning", "It is damaged or of another release; the log has all.")
SNAPSHOT_FAILED = _line("snapshot failed", "error", "It could not be written; it is tried after as many commits again.")
NOT_CLAIMED = _line(
    "shard not claimed: too many quarantines", "error", "More than `limits.quarantined_max`; another may claim it."
)
STANDBY_FOLLOWS = _line("standby follows", "info", "It has read all that the owner wrote: a takeover would be quick.")
CELL_TAKEN = _line("the cell is ours", "info", "The owner has ended, and a standby takes over what it followed.")
NOT_FOLLOWED = _line(
    "not followed", "warning", "A standby cannot read or fold a partition; it tries again, and the owner says why."
)
FOLDED_ANEW = _line("state folded anew", "warning", "What was in memory of a contact or a desk was doubted.")
KEYS_STAY = _line("keys are not destroyed yet", "error", "The storage of keys refuses; it is tried again.")
RECORDINGS_STAY = _line(
    "recordings are not deleted yet", "error", "Blobs refuse, and are tried again; their keys are destroyed."
)
ERASURE_NOT_TAKEN = _line(
    "the end of an erasure was not taken", "info", "The shard has another owner, who orders the erasure again."
)
ERASED_AGAIN = _line(
    "erased again: their keys were back, from a backup", "warning", "What the log says is erased stays erased."
)
SWEEP_CUT_OFF = _line(
    "a retention sweep was cut off", "warning", "No owner, or a disk that fails; it goes on in a moment."
)
HOLD_CUT_OFF = _line(
    "a look for erased agents was cut off", "warning", "No owner, or a disk that fails; it begins anew in a moment."
)
NO_KEYS = _line("no keys", "error", "The storage of keys fails; new contacts wait for keys, and it is asked again.")
INPUT_REFUSED = _line("input refused", "error", "A decider failed on an input; its contact goes to its fallback.")
NODE_UP = _line("media node up", "info", "A shard can command the node.")
NODE_DOWN = _line("media node down", "warning", "The link broke; calls go on, and it is dialled again.")
NODE_DRAINS = _line("media node takes no new callers", "info", "An operator empties it; its calls are served on.")
NODE_TAKES_CALLERS = _line("media node takes callers again", "info", "Its drain was undone.")
NO_DIRECTORY = _line("no directory", "error", "The node was not told of numbers and devices; it goes by what it has.")
VIEW_LATE = _line("a view is late", "error", "The store fails; calls go on, history is late.")
CONTROL_READY = _line("control plane ready", "info", "Every shard is live, calls are taken.")
MEDIA_READY = _line("media node ready", "info", "Phones can register and call.")
CALL_FAILED = _line("a call to the API failed", "error", "A fault of ours; the client was told the id in the line.")
CONTACT_ENDED_LINE = _line("contact ended", "info", "A traced contact has its outcome; the line has its trace.")
SOURCE_FAILED = _line("a source of metrics failed", "error", "It is left out of /metrics until it works again.")

# Of the media node and of adapters, by the standard library's loggers: the text before its values are set in.
_line("journal of node %s begins anew, incarnation %s: %s", "warning", "What the node remembered is gone; it says why.")
_line("link %s lost: %s", "info", "An owner's process let go of its shards, or died; calls go on.")
_line("%s: %s", "warning", "A notice of the node's agent: a stable reason, and what it is about.")
_line(
    "FreeSWITCH cannot be reached at %s (%s): it is tried again until it is",
    "warning",
    "It is not started, or begins anew; or host and port of its event socket are others.",
)
_line("the connection to FreeSWITCH has ended", "warning", "Calls go on there; what happens meanwhile is asked for.")
_line(
    "gateways in %s cannot be written (%s): FreeSWITCH keeps those it has",
    "error",
    "What changed in media.gateways counts once the agent is started with room on its disk.",
)
_line("a frame of FreeSWITCH could not be worked off", "error", "A fault of ours in one call; the others go on.")
_line(
    "call records in %s cannot be listed: %s", "warning", "What a gap has left there stays: is it FreeSWITCH's cdr_dir?"
)
_line("call record of channel %s cannot be removed: %s", "warning", "It tells who called whom: remove it by hand.")
_line("the backend failed in a call", "error", "A fault of ours in one call; its command ends as unknown.")
_line(
    "journal %s cannot be written, so new calls are refused and events wait: %s; free space on its disk",
    "error",
    "Talks go on as they are; it is tried again every second.",
)
_line(
    "file %s cannot be written: %s; metrics are on port %d",
    "error",
    "Scrapers that look there find an earlier life's port.",
)
_line("journal %s can be written again", "warning", "What waited is told now; calls are taken.")
_line("the audio of leg %s failed, it is hung up", "error", "A fault of ours in one leg's audio; the others go on.")
_line("%s", "error", "The disk of the spool refused; the recording that is named next is lost.")
_line(
    "recording %s is cut (%s): free space on the disk of media.spool_dir",
    "error",
    "What was written before is stored and marked truncated; the talk goes on unrecorded.",
)
_line(
    "whether the node is drained cannot be written (%s): after a boot of the host it is not",
    "error",
    "The disk of the data directory is full or failing; the drain itself is in force.",
)
_line("recording %s is lost (%s): look at the disk of media.spool_dir", "error", "It could not be kept.")
_line("recording %s not stored yet (%s), next try in %g s", "warning", "The blobs are away; it waits in the spool.")
_line("%s is held by process %s; this one waits for the lock", "info", "A standby, until the owner of the cell ends.")
_line("the log cannot be followed yet: %s", "info", "It is being made, or of another release; a standby looks again.")
_line(
    "keys.db cannot be followed: %s", "warning", "A standby has no keys ready, and asks for them once it owns the cell."
)
_line("checkpoint of %s failed, the next one is tried after more writes: %s", "warning", "The log's side file grows.")
_line(
    "the erasure of keys waits for another program to stop reading keys.db", "warning", "Look for a backup that hangs."
)

ROBOT_REFUSED = _line("robot caller was refused", "warning", "A call of the demo was not taken.")
ROBOT_DONE = _line("robot caller is done", "info", "A call of the demo has ended.")
ROBOTS_READY = _line("robots ready", "info", "The agents of the demo are registered.")
ROBOT_NOT_READY = _line("robot is not ready", "warning", "An agent of the demo could not register yet.")
DEMO_NOT_WHOLE = _line("the demo tenant is not whole yet; trying again", "warning", "The demo is being made.")
