import * as v from 'valibot';

const count = v.number();
const time = v.string();
const Problem = v.object({ message: v.string(), at: time });

const PodLine = v.object({
  namespace: v.string(), name: v.string(),
  /** As `kubectl get pods` has it: `Running`, `CrashLoopBackOff`, … */
  status: v.string(),
  phase: v.string(), ready: v.string(), restarts: count,
  lastError: v.optional(v.string()),
});
export type PodLine = v.InferOutput<typeof PodLine>;

const ListenerLine = v.object({
  /** `TCP/10.96.0.10:80`. */
  socket: v.string(),
  service: v.string(),
  state: v.picklist(['open', 'opening', 'failing', 'empty']),
  backends: count,
  lastError: v.optional(v.string()),
});
export type ListenerLine = v.InferOutput<typeof ListenerLine>;

/**
 * What `wherry agent status --json` prints, and what a running agent answers on its status socket. Times are RFC 3339.
 * Without a running agent there are only the parts that its files tell; `pods` are then as last noted.
 */
export const AgentStatus = v.object({
  state: v.picklist(['connected', 'not connected', 'not running']),
  version: v.string(),
  /** Name of this node; `''` before it is enrolled or running. */
  node: v.string(),
  dataDir: v.string(),
  pid: v.optional(count),
  started: v.optional(time),
  master: v.optional(v.string()),
  link: v.optional(v.object({
    phase: v.picklist(['starting', 'enrolling', 'connecting', 'connected', 'waiting']),
    since: time,
    /** Sessions since the agent started. */
    sessions: count,
    nextTry: v.optional(time),
    lastError: v.optional(Problem),
    /** WebSocket frames since the agent started, without what TLS and TCP add. */
    bytesSent: count, bytesReceived: count,
  })),
  held: v.object({ epoch: v.string(), revision: count, items: count }),
  certificate: v.optional(v.object({ notAfter: time })),
  pods: v.array(PodLine),
  listeners: v.optional(v.array(ListenerLine)),
  serviceRange: v.optional(v.object({ cidr: v.string(), local: v.boolean() })),
  /** Cluster DNS, once the agent knows its address: where it listens, and questions since the agent started; of those passed on, asked and not answered. */
  dns: v.optional(v.object({ address: v.string(), domain: v.string(), listening: v.array(v.string()), queries: count, forwarded: count, failed: count })),
  /** What the master has not yet acknowledged, and events that had to be dropped meanwhile. */
  unsent: v.optional(v.object({ pods: count, events: count, eventsDropped: count })),
  /** Since the agent started: by the state's journal, and by the whole process as the kernel counts it (whole pages). */
  flash: v.optional(v.object({ journalBytes: count, processBytes: v.optional(count) })),
  memory: v.optional(v.object({ residentBytes: count, heapBytes: count })),
  /** What is wrong beyond the link: the state cannot be written, files cannot be read. */
  problems: v.array(v.string()),
});
export type AgentStatus = v.InferOutput<typeof AgentStatus>;

/** Exit status of `wherry agent status`; 3 when there is no telling. */
export const exitCodeOf = ({ state }: AgentStatus): number => ({ connected: 0, 'not connected': 1, 'not running': 2 })[state];

/** The status could not be had; the message is one line for the user. */
export class StatusFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StatusFailure';
  }
}
