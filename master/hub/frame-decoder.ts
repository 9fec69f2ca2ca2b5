import { decodeMessage, type Message } from '../../shared/protocol.ts';

/**
 * Reads agents' control frames. After a change of a service every agent acknowledges the same revision in the same bytes:
 * that message is taken apart once and shared, so nobody may change it.
 */
export class FrameDecoder {
  #frame: Buffer | undefined;
  #message: Message<'agent'> | undefined;

  /** The frame's bytes are not kept. @throws ProtocolError as `decodeMessage` */
  decode(frame: Uint8Array): Message<'agent'> {
    if (this.#message && this.#frame?.equals(frame)) return this.#message;
    // Parts of a message may be kept.
    const own = Buffer.from(frame);
    const message = decodeMessage(own, 'agent');
    if (message.name !== 'ack') return message;
    this.#frame = own;
    this.#message = message;
    return message;
  }
}
