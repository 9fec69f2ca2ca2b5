import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { version } from '../../shared/version.ts';
import { Contents } from '../state/contents.ts';
import { readRecords } from '../state/records.ts';
import { byName } from './collect.ts';
import { readIdentityFacts } from './identity-facts.ts';
import { podLine } from './pod-line.ts';
import type { AgentStatus } from './status.ts';

/**
 * What an agent's files tell while it does not run. Reads only.
 * @throws Error with a line for the user when the directory may not be read
 */
export async function diskStatus(dataDir: string): Promise<AgentStatus> {
  const problems: string[] = [];
  const identity = await readIdentityFacts(dataDir).catch(onlyIf('EACCES', problems)) ?? undefined;
  const contents = await heldOnDisk(dataDir, problems);
  return {
    state: 'not running', version, node: identity?.node ?? '', dataDir,
    ...(identity ? { master: identity.server, certificate: { notAfter: identity.notAfter } } : {}),
    held: { ...contents.held, items: contents.items.size },
    pods: podsOf(contents), problems,
  };
}

/** Rethrows errors with `code`; others become problems. */
const onlyIf = (code: string, problems: string[]) => (error: NodeJS.ErrnoException): undefined => {
  if (error.code === code) throw error;
  problems.push(error.message);
  return undefined;
};

/** What the journal of a stopped agent holds: everything readable in it. */
export async function heldOnDisk(dataDir: string, problems: string[]): Promise<Contents> {
  const contents = new Contents();
  const path = join(dataDir, 'state', 'journal');
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw error;
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') problems.push((error as Error).message);
    return contents;
  }
  const { records, damage } = readRecords(bytes);
  for (const record of records) contents.replay(record, 0);
  if (damage === 'middle') problems.push(`${path} is damaged; the agent will go on with what is readable and ask the master for all of it`);
  return contents;
}

function podsOf(contents: Contents): AgentStatus['pods'] {
  const pods = [...contents.items.values()].flatMap((item) => (item.type === 'pod' ? [item.object] : []));
  return pods.map((pod) => podLine(pod, contents.notes.get(`pod-status/${pod.metadata.uid ?? ''}`) as PodStatus | undefined)).sort(byName);
}
