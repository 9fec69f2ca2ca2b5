import { open } from 'node:fs/promises';
import type { Clock } from '../../shared/clock.ts';
import type { ContainerDetails } from '../runtime/runtime.ts';
import type { PodState } from './pod-state.ts';
import { slots, viewOf, type ContainerView } from './view.ts';

const messageLimit = 4096;
const logLimit = 2048;
const logLines = 80;

/** Looks at a container again; what has gone is forgotten. */
export async function observe(state: PodState, id: string): Promise<void> {
  const details = await state.context.runtime.inspect(id);
  if (!details) return forget(state, id);
  const known = state.views.get(id);
  const view = viewOf(details, endOf(state.context.clock, details, known));
  if (view.state !== 'running') state.stopping.delete(id);
  // An agent before this one may have died over it.
  if (view.cannotRun && !known) await state.context.runtime.endStrays(id);
  const message = view.state !== 'exited' || view.cannotRun ? view.message : known?.state === 'exited' ? known.message : await terminationMessage(state, view);
  state.views.set(id, { ...view, message });
}

/** An end that is seen as it happens is now; of one that the agent missed the stamp is all there is. */
function endOf(clock: Clock, { finishedMs, createdMs }: ContainerDetails, known: ContainerView | undefined): number {
  if (known?.state === 'exited' && known.finishedMs === finishedMs) return known.endedMs;
  return clock.monotonic() - Math.max(0, clock.now() - (finishedMs || createdMs));
}

export function forget(state: PodState, id: string): void {
  state.views.delete(id);
  state.stopping.delete(id);
  state.replacing.delete(id);
  state.hooks.delete(id);
  state.interruptedStarts.delete(id);
  state.holds.delete(id);
}

/** What a container left in its termination message file; else, if its policy says so and it failed, the end of its log. */
async function terminationMessage(state: PodState, view: ContainerView): Promise<string> {
  const container = slots(state.pod).find((slot) => slot.container.name === view.name)?.container;
  const written = view.messageFile ? await head(view.messageFile) : '';
  if (written || container?.terminationMessagePolicy !== 'FallbackToLogsOnError' || view.exitCode === 0) return written;
  const chunks: Uint8Array[] = [];
  try {
    const signal = new AbortController().signal;
    for await (const chunk of state.context.runtime.logs(view.id, { follow: false, timestamps: false, tailLines: logLines, signal })) chunks.push(chunk);
  } catch {
    // No log, no message.
  }
  return Buffer.concat(chunks).subarray(-logLimit).toString('utf8');
}

async function head(path: string): Promise<string> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return '';
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(messageLimit), 0, messageLimit, 0);
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await file.close();
  }
}
