import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import type { State } from '../state/state.ts';

export interface StatusNotesOptions {
  readonly state: Pick<State, 'notes' | 'note'>;
  readonly log: Log;
}

const prefix = 'pod-status/';

/** What of a status is worth a write to flash: the rest is read from the containers again after a restart. */
const milestone = (status: PodStatus | undefined): string =>
  JSON.stringify([status?.phase, status?.reason, status?.conditions?.map((condition) => [condition.type, condition.status])]);

/** The statuses of pods that an agent leaves to the one after it, as notes of the state: `pod-status/<uid>` → status. */
export class StatusNotes {
  readonly #options: StatusNotesOptions;

  constructor(options: StatusNotesOptions) {
    this.#options = options;
  }

  /** The status of a pod as it was last kept. */
  last(uid: string): PodStatus | undefined {
    return this.#options.state.notes.get(prefix + uid) as PodStatus | undefined;
  }

  /** Keeps a status if it says something new that the containers do not. A failure is logged: the next status is another chance. */
  keep({ metadata: { uid = '', name } }: Pod, status: PodStatus): void {
    const { state, log } = this.#options;
    if (milestone(status) === milestone(this.last(uid))) return;
    state.note(prefix + uid, status).catch((error: unknown) => log.debug('cannot keep a pod\'s status', { pod: name, error }));
  }

  /** A pod has gone. A failure is logged: the state writes it when the disk takes writes again. */
  forget(uid: string): void {
    const { state, log } = this.#options;
    state.note(prefix + uid, undefined).catch((error: unknown) => log.debug('cannot forget a pod\'s status', { uid, error }));
  }

  /** Pods have gone while no agent was there to see it. */
  forgetUnless(isKnown: (uid: string) => boolean): void {
    for (const key of this.#options.state.notes.keys()) {
      const uid = key.slice(prefix.length);
      if (key.startsWith(prefix) && !isKnown(uid)) this.forget(uid);
    }
  }
}
