import type { StreamRequest } from '../../shared/protocol.ts';
import { badRequest, notFound, StatusError } from '../../shared/status.ts';
import { RuntimeError, type Runtime } from '../runtime/runtime.ts';

export type LogsRequest = Extract<StreamRequest, { type: 'logs' }>;

/** Which container's log a request means, or in the kubelet's words why there is none. */
export type LogTarget = { readonly id: string } | { readonly refused: string };

export interface LogsOptions {
  readonly runtime: Runtime;
  /** Undefined when no such pod (with this uid, if one is given) is on this node. */
  readonly target: (request: { readonly namespace: string; readonly pod: string; readonly uid: string; readonly container: string; readonly previous: boolean }) => LogTarget | undefined;
}

/**
 * The log of one container as `kubectl logs` asks for it: bytes as the container wrote them, with times before each line
 * if asked for. Reads from the engine only as fast as it is consumed; ends when `signal` aborts.
 * @throws StatusError before the first byte, with the kubelet's wording
 */
export async function* logs(request: LogsRequest, options: LogsOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const target = options.target(request);
  if (!target) throw notFound({ group: '', plural: 'pods', kind: 'Pod' }, request.pod);
  if ('refused' in target) throw badRequest(target.refused);
  const { follow, timestamps, sinceMs, tailLines, limitBytes } = request;
  const source = options.runtime.logs(target.id, {
    follow, timestamps, signal, ...(sinceMs === undefined ? {} : { sinceMs }), ...(tailLines === undefined ? {} : { tailLines }),
  });
  try {
    yield* limitBytes === undefined ? source : limited(source, limitBytes);
  } catch (error) {
    throw translated(error, target.id);
  }
}

async function* limited(source: AsyncIterable<Uint8Array>, limitBytes: number): AsyncIterable<Uint8Array> {
  let left = limitBytes;
  if (left <= 0) return;
  for await (const chunk of source) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

function translated(error: unknown, id: string): unknown {
  if (!(error instanceof RuntimeError)) return error;
  if (error.fault === 'notFound') return badRequest(`unable to retrieve container logs for docker://${id}`);
  return new StatusError(error.fault === 'unreachable' ? 503 : 500, error.fault === 'unreachable' ? 'ServiceUnavailable' : 'InternalError', error.message);
}
