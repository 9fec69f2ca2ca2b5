import { ProtocolError, type Payload } from '../../shared/protocol.ts';
import type { Reading } from './reading.ts';
import type { SessionLink } from './session-link.ts';

export interface TokenAnswersOptions {
  readonly link: SessionLink;
  readonly reading: Reading;
  /** Makes a token for a pod of the node; rejects when it may not have it. Without it there are none. */
  readonly podToken: ((request: Payload<'token'>) => Promise<string>) | undefined;
}

/** Tokens being made for one agent, beyond which nothing more is read from it. */
const maxMaking = 8;

/** Answers one agent's requests for tokens of its pods. */
export class TokenAnswers {
  readonly #options: TokenAnswersOptions;
  #making = 0;

  constructor(options: TokenAnswersOptions) {
    this.#options = options;
  }

  /** Answers with a token, or with why there is none. @throws ProtocolError when this master makes none */
  answer(request: Payload<'token'>): void {
    const { link, reading, podToken } = this.#options;
    if (!podToken) throw new ProtocolError('this master makes no tokens');
    const { id } = request;
    this.#making++;
    // As with reports: who asks for more than can be made is not listened to for a while.
    if (this.#making === maxMaking) reading.pause(1);
    podToken(request).then((token) => link.control('podToken', { id, token }), (error: unknown) => {
      link.log.warn('no token for a pod', { node: link.node, pod: `${request.namespace}/${request.pod}`, error });
      link.control('noPodToken', { id, reason: (error as Error).message.slice(0, 1024) });
    }).finally(() => {
      if (this.#making-- === maxMaking) reading.pause(-1);
    }).catch(() => {});
  }
}
