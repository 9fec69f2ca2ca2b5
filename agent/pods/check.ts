import * as net from 'node:net';
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '../../shared/kinds/container.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { checkGrpc } from './check-grpc.ts';
import { httpGet, plainAnswer } from './check-http.ts';

/**
 * Outcome of one check; `message` for the event when it failed. `warning`: it counts as passed, but there is something to
 * say. `unknown`: it could not be made, and counts neither way.
 */
export interface Outcome { readonly ok: boolean; readonly message: string; readonly warning?: boolean; readonly unknown?: boolean }

export interface CheckInput {
  readonly runtime: Runtime;
  readonly id: string;
  readonly container: Container;
  readonly ips: readonly string[];
  readonly timeoutMs: number;
}

/** Runs the action of a probe once. Never throws. */
export async function check(action: Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>, input: CheckInput): Promise<Outcome> {
  try {
    if (action.exec) return await checkExec(action.exec.command ?? [], input);
    if (action.httpGet) return await checkHttp(action.httpGet, input);
    if (action.tcpSocket) return await checkTcp(action.tcpSocket, input);
    if (action.grpc) return await checkGrpc({ host: hostOf(undefined, input), port: action.grpc.port, service: action.grpc.service ?? '', timeoutMs: input.timeoutMs });
    return { ok: false, unknown: true, message: `missing probe handler for ${input.container.name}` };
  } catch (error) {
    return { ok: false, unknown: true, message: (error as Error).message };
  }
}

/** Runs a lifecycle hook other than a sleep. Unlike for a probe, any answer to a request is a good one. Never throws. */
export async function runHook(hook: LifecycleHandler, input: CheckInput): Promise<Outcome> {
  try {
    if (hook.exec) {
      const outcome = await checkExec(hook.exec.command ?? [], input);
      return outcome.ok ? outcome : { ok: false, message: `command '${(hook.exec.command ?? []).join(' ')}' failed: ${outcome.message}` };
    }
    if (!hook.httpGet) return { ok: false, message: 'invalid handler: only exec, httpGet and sleep are hooks' };
    const options = { host: hostOf(hook.httpGet.host, input), port: portOf(hook.httpGet.port, input.container), agent: 'kube-lifecycle/1.32', timeoutMs: input.timeoutMs };
    const answer = await httpGet(hook.httpGet, options);
    if (!('error' in answer)) return { ok: true, message: '' };
    // Hooks were asked without TLS once, whatever their scheme said; servers that rely on it are still there.
    const again = answer.error.endsWith(plainAnswer) ? await httpGet(withoutTls(hook.httpGet), options) : answer;
    if ('error' in again) return { ok: false, message: answer.error };
    return { ok: true, warning: true, message: `request to HTTPS lifecycle hook ${options.host}:${options.port} got HTTP response, retry with HTTP succeeded` };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}

const withoutTls = (action: HTTPGetAction): HTTPGetAction =>
  ({ ...action, scheme: 'HTTP', httpHeaders: (action.httpHeaders ?? []).filter(({ name }) => name.toLowerCase() !== 'authorization') });

async function checkExec(command: readonly string[], { runtime, id, timeoutMs }: CheckInput): Promise<Outcome> {
  const result = await runtime.exec(id, command, timeoutMs);
  if (result.timedOut) return { ok: false, message: `command timed out: ${JSON.stringify(command.join(' '))} timed out after ${timeoutMs / 1000}s` };
  return { ok: result.exitCode === 0, message: result.output };
}

function portOf(port: number | string, container: Container): number {
  const found = typeof port === 'number' ? port : container.ports?.find((p) => p.name === port)?.containerPort ?? Number(port);
  if (!Number.isInteger(found) || found < 1 || found > 65_535) throw new Error(`couldn't find port: ${JSON.stringify(port)} in container ${container.name}`);
  return found;
}

/** The host that is asked for, or the pod's address. @throws Error while it has none */
function hostOf(host: string | undefined, { ips }: CheckInput): string {
  const found = host || ips[0];
  if (!found) throw new Error('the pod has no address yet');
  return found;
}

async function checkHttp(action: NonNullable<Probe['httpGet']>, input: CheckInput): Promise<Outcome> {
  const answer = await httpGet(action, { host: hostOf(action.host, input), port: portOf(action.port, input.container), agent: 'kube-probe/1.32', timeoutMs: input.timeoutMs });
  if ('error' in answer) return { ok: false, message: answer.error };
  if (answer.code >= 200 && answer.code < 300) return { ok: true, message: '' };
  // A redirect to elsewhere is not followed, lest a pod have its node ask others.
  if (answer.code >= 300 && answer.code < 400) return { ok: true, warning: true, message: `Probe terminated redirects, Response body: ${answer.body}` };
  return { ok: false, message: `HTTP probe failed with statuscode: ${answer.code}` };
}

function checkTcp(action: NonNullable<Probe['tcpSocket']>, input: CheckInput): Promise<Outcome> {
  const host = hostOf(action.host, input);
  const port = portOf(action.port, input.container);
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const timer = setTimeout(() => end({ ok: false, message: `dial tcp ${host}:${port}: i/o timeout` }), input.timeoutMs);
    const end = (outcome: Outcome): void => { clearTimeout(timer); socket.destroy(); resolve(outcome); };
    socket.on('connect', () => end({ ok: true, message: '' }));
    socket.on('error', (error: NodeJS.ErrnoException) => end({ ok: false, message: error.code === 'ECONNREFUSED' ? `dial tcp ${host}:${port}: connect: connection refused` : error.message }));
  });
}
