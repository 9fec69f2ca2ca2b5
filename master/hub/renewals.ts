import type { EnrolAnswer } from '../../shared/enrolment.ts';
import { ProtocolError, type Payload } from '../../shared/protocol.ts';
import type { SessionLink } from './session-link.ts';

export interface RenewalsOptions {
  readonly link: SessionLink;
  /** Makes a certificate for another key of the node; without it there is no renewal. */
  readonly renew: ((request: Payload<'renew'>) => Promise<EnrolAnswer>) | undefined;
}

/** Pause between two renewals of a certificate: signing is dear. */
const renewPauseMs = 1000;

/** Renews one agent's certificate when it asks, one at a time and not all the time. */
export class Renewals {
  readonly #options: RenewalsOptions;
  #renewing: Promise<void> | undefined;
  #renewedMs = -Infinity;

  constructor(options: RenewalsOptions) {
    this.#options = options;
  }

  /** Answers with a certificate, or with why there is none. @throws ProtocolError when there can be none, or one is being made */
  answer(request: Payload<'renew'>): void {
    const { link, renew } = this.#options;
    if (!renew || this.#renewing) throw new ProtocolError(renew ? 'renew while another is under way' : 'this master renews no certificates');
    if (link.clock.monotonic() - this.#renewedMs < renewPauseMs) return link.control('notRenewed', { reason: 'too soon after another' });
    this.#renewedMs = link.clock.monotonic();
    this.#renewing = renew(request)
      .then((answer) => link.control('certificate', answer), (error: unknown) => {
        link.log.warn('a certificate could not be renewed', { node: link.node, error });
        link.control('notRenewed', { reason: (error as Error).message.slice(0, 1024) });
      })
      .finally(() => { this.#renewing = undefined; });
  }

  /** Resolves when none is being made. */
  async settled(): Promise<void> {
    await this.#renewing;
  }
}
