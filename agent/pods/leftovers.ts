import type { Log } from '../../shared/log.ts';
import type { ContainerSummary, Runtime } from '../runtime/runtime.ts';
import type { Volumes } from '../volumes/index.ts';
import { forcedGraceSeconds } from './ending.ts';
import type { StatusNotes } from './status-notes.ts';

export interface LeftoversOptions {
  readonly runtime: Pick<Runtime, 'stop' | 'endStrays' | 'remove'>;
  readonly log: Log;
  readonly volumes: Pick<Volumes, 'known' | 'release'>;
  readonly notes: Pick<StatusNotes, 'forgetUnless'>;
  /** Whether a pod is of this node, by uid. */
  readonly isKnown: (uid: string) => boolean;
  /** Whether what is of no known pod may go: not while the agent cannot tell what belongs to nobody. */
  readonly mayRemove: () => boolean;
  /** Starts work that is awaited at the end of the agent. */
  readonly start: (work: () => Promise<void>) => void;
}

/**
 * What is there of pods that this node does not know: containers, volumes and notes. They are either claimed, when their pod
 * turns out to be assigned after all, or ended and removed as soon as that may be.
 */
export class Leftovers {
  readonly #options: LeftoversOptions;
  /** Containers, by pod uid, as they were last seen. */
  #unclaimed: ReadonlyMap<string, readonly ContainerSummary[]> = new Map();
  /** Ids of containers that are being removed. */
  readonly #going = new Set<string>();

  constructor(options: LeftoversOptions) {
    this.#options = options;
  }

  /** Containers that were found of a pod that was not known. */
  of(uid: string): readonly ContainerSummary[] {
    return this.#unclaimed.get(uid) ?? [];
  }

  /** All containers of the engine were listed: `found`, by pod uid. Those that are nobody's are removed, if that may be. */
  found(found: ReadonlyMap<string, readonly ContainerSummary[]>): void {
    this.#unclaimed = new Map([...found].filter(([uid]) => !this.#options.isKnown(uid)));
    this.sweep();
  }

  /** Removes containers that are nobody's, if that may be now. Does not wait for it. */
  sweep(): void {
    const { mayRemove, isKnown } = this.#options;
    if (mayRemove()) for (const [uid, summaries] of this.#unclaimed) if (!isKnown(uid)) for (const one of summaries) this.#remove(one);
  }

  #remove({ id, name, state }: ContainerSummary): void {
    const { runtime, log, start } = this.#options;
    if (this.#going.has(id)) return;
    this.#going.add(id);
    log.info('removing a container that belongs to no pod of this node', { name, id });
    start(async () => {
      try {
        if (state === 'running') await runtime.stop(id, forcedGraceSeconds);
        if (state !== 'running') await runtime.endStrays(id);
        await runtime.remove(id);
      } catch (error) {
        log.warn('cannot remove container', { name, error });
      } finally {
        this.#going.delete(id);
      }
    });
  }

  /** Volumes of pods that went while the agent was away, and what was noted of them. */
  async release(): Promise<void> {
    const { volumes, notes, log, isKnown, mayRemove } = this.#options;
    if (!mayRemove()) return;
    notes.forgetUnless(isKnown);
    for (const uid of await volumes.known()) {
      if (!isKnown(uid)) await volumes.release(uid).catch((error: unknown) => log.warn('cannot release volumes', { uid, error }));
    }
  }
}
