import { ProtocolError, type Payload } from '../../shared/protocol.ts';
import type { Assignments, NodeItems, Resumption } from './assignments.ts';
import type { Gate } from './gate.ts';
import { syncFrames } from './service-table.ts';
import type { SessionLink } from './session-link.ts';

export interface DeliveryOptions {
  readonly link: SessionLink;
  readonly assignments: Assignments;
  /** Limits how many agents are sent much at a time. */
  readonly sending: Gate;
  /** Called when the agent cannot be brought up to date in this session. */
  readonly fail: () => void;
}

/** Syncs sent and not acknowledged, and bytes not taken by the network, beyond which an agent is left behind for a while. */
const maxUnacknowledged = 32;
const maxBufferedBytes = 256 * 1024;
/** Time between two snapshots that an agent asks for. */
const resyncPauseMs = 5_000;

/**
 * What one agent must know, on its way there: sends what changed, and counts what has arrived. An agent that does not keep
 * up is left `behind`: nothing is sent until it has caught up, then it is resumed from what it was last sent, as after a
 * reconnect.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  /** Revision that the agent holds once it has applied all that was sent. */
  #sent = 0;
  #acknowledged = 0;
  #unacknowledged = 0;
  /** Revision that the agent came with; 0 if it was of another store. */
  #came = 0;
  #behind = true;
  #sending = false;
  #expected: { readonly revision: number; readonly items: number } | undefined;
  #resyncMs = -Infinity;
  #wake: (() => void) | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** Revisions between what the agent should hold and what it has acknowledged. */
  get lag(): number {
    return Math.max(0, (this.#behind ? this.#options.assignments.revision : this.#sent) - Math.max(this.#acknowledged, this.#came));
  }

  get revision(): { readonly sent: number; readonly acknowledged: number } {
    return { sent: this.#sent, acknowledged: this.#acknowledged };
  }

  /** Brings an agent up to date that has said hello: from what it holds, or with everything if that is not what it should be. */
  begin({ epoch, revision, items }: Pick<Payload<'hello'>, 'epoch' | 'revision' | 'items'>): void {
    const { assignments, link } = this.#options;
    const wrong = revision === assignments.revision && items !== undefined && items !== assignments.expected(link.node);
    this.#came = epoch === assignments.epoch ? revision : 0;
    this.#sent = wrong ? 0 : this.#came;
    if (this.#sent === assignments.revision) this.#nothingNew();
    this.#catchUp();
  }

  /** Sends what changed: `own` of this node, `shared` frames for every session, which bring it to `revision`. */
  update(own: NodeItems | undefined, shared: readonly Uint8Array[], revision: number): void {
    const { link, assignments: { epoch } } = this.#options;
    if (revision <= this.#sent) return;
    if (!own && shared.length === 0) return;
    // With all acknowledged only a stream's data can wait, of which there never is so much.
    const full = this.#unacknowledged > 0 && (this.#unacknowledged >= maxUnacknowledged || link.bufferedBytes > maxBufferedBytes);
    if (this.#behind || full) { this.#behind = true; return; }
    const frames = own ? syncFrames({ epoch, from: this.#sent, revision, removed: own.removed, more: shared.length > 0 }, own.items) : [];
    const alone = frames.length + shared.length === 1;
    for (const frame of frames) link.send(frame, undefined, alone);
    for (const frame of shared) link.send(frame, undefined, alone);
    this.#sent = revision;
    this.#unacknowledged++;
  }

  /** The agent holds what was sent. */
  acked({ epoch, revision, items }: Payload<'ack'>): void {
    const { link, assignments } = this.#options;
    if (epoch !== assignments.epoch || revision > this.#sent) return;
    this.#acknowledged = revision;
    this.#unacknowledged = revision === this.#sent ? 0 : Math.max(0, this.#unacknowledged - 1);
    const expected = this.#expected;
    this.#expected = undefined;
    if (items !== undefined && expected?.revision === revision && expected.items !== items) {
      link.log.info('agent holds what was removed long ago; sending it everything', { node: link.node, items, expected: expected.items });
      this.#sent = 0;
      this.#behind = true;
    }
    if (this.#behind) this.#catchUp();
  }

  /** The agent cannot use what it was sent, and asks for everything. @throws ProtocolError when it does so all the time */
  resync({ reason }: Payload<'resync'>): void {
    const { clock, log, node } = this.#options.link;
    if (clock.monotonic() - this.#resyncMs < resyncPauseMs) throw new ProtocolError('resync again at once');
    this.#resyncMs = clock.monotonic();
    log.warn('agent asks for a snapshot', { node, reason });
    this.#sent = 0;
    this.#behind = true;
    this.#catchUp();
  }

  /** The session is over: what waits for the network does so no longer. */
  end(): void {
    this.#wake?.();
  }

  /** Tells an agent that it knows all there is, which it must not think before: pods that it stopped may be another's now. */
  #nothingNew(): void {
    const { link, assignments: { epoch, revision } } = this.#options;
    for (const frame of syncFrames({ epoch, from: revision, revision, removed: [], more: false }, [])) link.send(frame);
  }

  /** Brings an agent that missed something up to date, unless that is under way. */
  #catchUp(): void {
    const { link, assignments, sending, fail } = this.#options;
    if (this.#sending || link.over) return;
    if (this.#sent === assignments.revision) { this.#behind = false; return; }
    this.#sending = true;
    const done = sending.run(async () => {
      if (link.over) return;
      // All of it is of this moment; what changes while it is being sent makes the session fall behind again.
      await this.#sendAll(assignments.resume(link.node, { epoch: assignments.epoch, revision: this.#sent }));
    });
    done.catch((error: unknown) => { link.log.error('bringing an agent up to date failed', { node: link.node, error }); fail(); })
      .finally(() => {
        this.#sending = false;
        // The agent's answer may have come before the network's.
        if (this.#behind && (this.#unacknowledged === 0 || this.#sent === 0)) this.#catchUp();
      });
  }

  async #sendAll({ from, revision, items, removed, expected }: Resumption): Promise<void> {
    const { link, assignments } = this.#options;
    const own = syncFrames({ epoch: assignments.epoch, from, revision, removed: [...removed], more: false }, items);
    const frames = from === 0 ? [...assignments.services.snapshot(revision), ...own] : own;
    this.#sent = revision;
    this.#unacknowledged = 1;
    this.#behind = false;
    this.#expected = { revision, items: expected };
    for (const frame of frames) {
      this.#behind ||= frames.length > 1;
      await this.#sendAndWait(frame);
      if (link.over) return;
    }
  }

  /** Resolves when the network has taken the frame, or the session is over. */
  #sendAndWait(frame: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#options.link.send(frame, resolve);
    });
  }
}
