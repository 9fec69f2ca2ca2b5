import { RuntimeError } from '../runtime/runtime.ts';
import { sandboxName } from '../runtime/labels.ts';
import { forget, observe } from './observe.ts';
import type { PodState } from './pod-state.ts';
import { podName } from './status.ts';
import { inLifeOf, sandboxOf, type ContainerView } from './view.ts';

/** How often in a row the start of a name may fail for reasons of the engine before what it says is believed. */
const patience = 2;

/**
 * Starts a container. One that was being started when its engine died may be a wreck: by the engine it never ran, and it
 * runs already, so it will not be started ever. Such a one is removed with its processes, and the next plan makes another;
 * that is no end of it, which a restart policy would have to judge.
 * @throws RuntimeError as the engine's; `unreachable` for one that was thrown away for another
 */
export async function start(state: PodState, name: string, id: string): Promise<void> {
  try {
    await state.context.runtime.start(id);
    state.failedStarts.delete(name);
    state.interruptedStarts.delete(id);
  } catch (error) {
    await startFailed(state, name, id, error as RuntimeError);
    throw error;
  }
}

async function startFailed(state: PodState, name: string, id: string, error: RuntimeError): Promise<void> {
  if (error.fault === 'unreachable') {
    state.interruptedStarts.add(id);
    return;
  }
  const failures = (state.failedStarts.get(name) ?? 0) + 1;
  state.failedStarts.set(name, failures);
  // Docker keeps the reason with the container, from where it becomes its end.
  await observe(state, id);
  const view = state.views.get(id);
  if (!view || view.state === 'running') return;
  const wreck = (await state.context.runtime.endStrays(id)) > 0 || state.interruptedStarts.has(id);
  const stranded = error.fault === 'failed' && failures === patience && await discardSandbox(state, error);
  if (!wreck && !stranded && !worthAnother(view, error, failures)) return;
  await discard(state, view, error);
  throw new RuntimeError('unreachable', `the engine could not start what it had made: ${error.message}`);
}

/** A sandbox has no fault of its own. A container may, and Docker notes with it that it cannot run: its policy is to judge of that. */
function worthAnother(view: ContainerView, { fault }: RuntimeError, failures: number): boolean {
  if (view.name === sandboxName || view.state === 'created') return failures >= patience;
  return fault === 'failed' && failures < patience;
}

async function discard(state: PodState, view: ContainerView, error: Error): Promise<void> {
  const { log, runtime } = state.context;
  log.warn('removing a container that its engine cannot start', { pod: podName(state.pod), container: view.name, id: view.id, error });
  await runtime.remove(view.id).catch(async (cause: unknown) => {
    await observe(state, view.id);
    if (!state.views.get(view.id)?.dead) throw cause;
  });
  if (!state.views.get(view.id)?.dead) forget(state, view.id);
}

/** A sandbox that its engine died over may run and yet let nothing in. So one in which nothing was ever started is replaced, once. */
async function discardSandbox(state: PodState, error: Error): Promise<boolean> {
  const views = [...state.views.values()];
  const sandbox = sandboxOf(views);
  if (!sandbox || sandbox.state !== 'running') return false;
  if (views.some((view) => view !== sandbox && !view.cannotRun && inLifeOf(sandbox, view))) return false;
  await discard(state, sandbox, error);
  return true;
}
