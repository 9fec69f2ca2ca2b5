import type { ServerResponse } from 'node:http';
import type { ByteStream } from '../../shared/byte-stream.ts';
import { sleep, type Clock } from '../../shared/clock.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { PacedWriter } from '../../shared/paced-writer.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { badRequest, fieldForbidden, fieldInvalid, internalError, invalid, StatusError, unavailable, type FieldError } from '../../shared/status.ts';
import { fromTime, isTime } from '../../shared/time.ts';
import { containerOf, hostOf } from '../registry/pod-container.ts';
import type { Registry } from '../registry/registry.ts';

/** An agent has this long to refuse a request before the answer's head goes out. */
const refusalMs = 1000;

export interface LogRequest {
  /** May be `''` for a pod with one container. */
  readonly container: string;
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** Only lines from this time on, ms since 1970. */
  readonly sinceMs?: number;
  readonly tailLines?: number;
  readonly limitBytes?: number;
}

/** The part of the API server's exchange that answering takes. */
interface LogExchange {
  readonly query: { get(name: string): string | null };
  readonly res: ServerResponse;
}

export interface PodLogsOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** @throws StreamReset when the node is not connected */
  readonly openStream: (node: string, request: StreamRequest) => ByteStream;
}

/** Serves `pods/NAME/log` from the pod's node. */
export class PodLogs {
  readonly #options: PodLogsOptions;

  constructor(options: PodLogsOptions) {
    this.#options = options;
  }

  /** Answers a request with the log as plain text. @throws StatusError while nothing was answered */
  async answer({ exchange: { query, res }, namespace, name }: { exchange: LogExchange; namespace: string; name: string }): Promise<void> {
    const request = readRequest(query, name, this.#options.clock.now());
    const pod = this.#options.registry.get(pods, namespace, name).object;
    containerOf(pod, request.container);
    // As apiserver answers for a pod that is on no node yet.
    if (!pod.spec.nodeName) return void res.writeHead(204).end();
    const log = await this.open(namespace, name, request);
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.flushHeaders();
    const gone = (): void => log.reset(499, 'the client went away');
    res.once('close', gone);
    try {
      const writer = new PacedWriter(res);
      await log.flow((bytes) => writer.write([bytes]));
      writer.flush();
      res.end();
    } catch (error) {
      // The head is out: all that is left is to say that this is not the end of the log.
      res.destroy(error as Error);
    } finally {
      res.off('close', gone);
    }
  }

  /**
   * Opens a log. Leaving the loop over it closes it.
   * @throws StatusError 400 (no such container, none named, not started), 404 (pod), 503 (node not connected)
   */
  async open(namespace: string, name: string, request: LogRequest): Promise<ByteStream> {
    const pod = this.#options.registry.get(pods, namespace, name).object;
    const container = containerOf(pod, request.container);
    const nodeName = hostOf(pod);
    let stream: ByteStream;
    try {
      stream = this.#options.openStream(nodeName, { type: 'logs', namespace, pod: name, uid: pod.metadata.uid ?? '', ...request, container });
    } catch (error) {
      throw toStatus(error);
    }
    stream.end();
    const waited = new AbortController();
    await Promise.race([stream.arrived(), sleep(this.#options.clock, refusalMs, waited.signal)]);
    waited.abort();
    if (stream.failure) throw toStatus(stream.failure);
    return stream;
  }
}

function toStatus(error: unknown): StatusError {
  const { code, message } = error as { code?: unknown; message: string };
  switch (code) {
    case 400: return badRequest(message);
    case 404: return new StatusError(404, 'NotFound', message);
    case 429: case 503: return unavailable(message);
    default: return internalError(message);
  }
}

const podLogOptions = { group: '', plural: '', kind: 'PodLogOptions' };

/** Reads PodLogOptions from a query, as they are validated upstream. `name` is the pod's. @throws StatusError 400, 422 */
export function readRequest(query: LogExchange['query'], name: string, nowMs: number): LogRequest {
  const flag = (option: string): boolean => { const text = query.get(option); return text !== null && text !== '0' && text.toLowerCase() !== 'false'; };
  const problems: FieldError[] = [];
  const [tailLines, sinceSeconds, limitBytes] = [count(query, 'tailLines', 0, problems), count(query, 'sinceSeconds', 1, problems), count(query, 'limitBytes', 1, problems)];
  const sinceTime = query.get('sinceTime');
  if (sinceTime && !isTime(sinceTime)) throw badRequest(`sinceTime: Invalid value: ${JSON.stringify(sinceTime)}`);
  if (sinceTime && sinceSeconds !== undefined) problems.push(fieldForbidden('', 'at most one of `sinceTime` or `sinceSeconds` may be specified'));
  if (problems.length > 0) throw invalid(podLogOptions, name, problems);
  const sinceMs = sinceTime ? fromTime(sinceTime) : sinceSeconds === undefined ? undefined : nowMs - sinceSeconds * 1000;
  return {
    container: query.get('container') ?? '', follow: flag('follow'), previous: flag('previous'), timestamps: flag('timestamps'),
    // Nothing was logged before 1970.
    ...(sinceMs === undefined ? {} : { sinceMs: Math.max(0, sinceMs) }), ...(tailLines === undefined ? {} : { tailLines }), ...(limitBytes === undefined ? {} : { limitBytes }),
  };
}

function count(query: LogExchange['query'], name: string, least: number, problems: FieldError[]): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  const value = Number(text);
  if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: ${/^[+-]?\d+$/.test(text) ? 'value out of range' : 'invalid syntax'}`);
  if (value < least) problems.push(fieldInvalid(name, value, `must be greater than ${least === 0 ? 'or equal to 0' : '0'}`));
  return value;
}
