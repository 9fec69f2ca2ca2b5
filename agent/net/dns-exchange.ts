import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { decodeDns, type DnsMessage } from './dns-message.ts';
import { MessageReader, framed } from './dns-stream.ts';

/** A server to ask. */
export interface Upstream { readonly address: string; readonly port: number }

/** Asks by UDP, and by TCP if the answer did not fit. @throws Error when there is no answer until `signal` aborts */
export async function exchange(upstream: Upstream, query: Buffer, signal: AbortSignal): Promise<DnsMessage> {
  const answer = await overUdp(upstream, query, signal);
  return answer.truncated ? overTcp(upstream, query, signal) : answer;
}

/** From a port of its own for each query, so that answers cannot be guessed. */
function overUdp({ address, port }: Upstream, query: Buffer, signal: AbortSignal): Promise<DnsMessage> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const end = (act: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners().on('error', () => {});
      try { socket.close(); } catch { /* Closed already. */ }
      act();
    };
    const onAbort = (): void => end(() => reject(new Error(`no answer from ${address}`)));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('message', (bytes) => {
      const answer = answerTo(query, bytes);
      if (answer) end(() => resolve(answer));
    });
    // Connected, so that nobody else's packets come in, and a closed port is told at once.
    socket.connect(port, address, (error?: Error) => {
      if (error) end(() => reject(error));
      else socket.send(query);
    });
  });
}

function overTcp({ address, port }: Upstream, query: Buffer, signal: AbortSignal): Promise<DnsMessage> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    const end = (act: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners().on('error', () => {});
      socket.destroy();
      act();
    };
    const onAbort = (): void => end(() => reject(new Error(`no answer from ${address} by TCP`)));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const reader = new MessageReader();
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('close', () => end(() => reject(new Error(`${address} closed the connection`))));
    socket.on('data', (chunk: Buffer) => {
      for (const bytes of reader.push(chunk)) {
        const answer = answerTo(query, bytes);
        if (answer) return end(() => resolve(answer));
      }
    });
    socket.write(framed(query));
  });
}

/** The message, if it answers this query and nothing else; anything else is as if it had not come. */
function answerTo(query: Buffer, bytes: Buffer): DnsMessage | undefined {
  try {
    const [asked, answer] = [decodeDns(query), decodeDns(bytes)];
    const [question, echo] = [asked.questions[0], answer.questions[0]];
    const same = echo !== undefined && echo.name.toLowerCase() === question?.name.toLowerCase() && echo.type === question.type && echo.class === question.class;
    // A server that could not even read the question need not repeat it.
    return answer.response && answer.id === asked.id && (same || (answer.questions.length === 0 && answer.rcode !== 0)) ? answer : undefined;
  } catch {
    return undefined;
  }
}
