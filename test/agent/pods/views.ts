import { containerHash } from '../../../agent/runtime/docker-spec.ts';
import { sandboxName } from '../../../agent/runtime/labels.ts';
import type { ContainerView } from '../../../agent/pods/view.ts';

/** 2026-01-02T03:04:05Z. */
export const at = Date.parse('2026-01-02T03:04:05Z');

const blank: ContainerView = {
  id: '', name: '', state: 'running', cannotRun: false, dead: false, attempt: 0, hash: '', backoffMs: 0, sandboxId: 'box', sandboxStartMs: 0, image: 'a:1', imageId: 'sha256:1', imageDigest: '',
  createdMs: at, startedMs: at, finishedMs: 0, endedMs: 0, exitCode: 0, oomKilled: false, ips: [], messageFile: undefined, message: '',
};

/** A container of image `a:1`, running since {@link at} unless said otherwise. */
export const view = (name: string, more: Partial<ContainerView> = {}): ContainerView =>
  ({ ...blank, id: `${name}-${more.attempt ?? 0}`, name, hash: containerHash({ name, image: 'a:1' }), ...more });

export const exited = (name: string, exitCode: number, more: Partial<ContainerView> = {}): ContainerView =>
  view(name, { state: 'exited', exitCode, finishedMs: at + 1000, endedMs: more.finishedMs ?? at + 1000, ...more });

export const created = (name: string, more: Partial<ContainerView> = {}): ContainerView => view(name, { state: 'created', startedMs: 0, imageId: '', ...more });

export const sandbox = (more: Partial<ContainerView> = {}): ContainerView => view(sandboxName, { id: 'box', sandboxId: '', ips: ['10.0.0.2'], ...more });
