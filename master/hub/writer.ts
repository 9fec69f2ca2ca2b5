import type { User } from '../registry/types.ts';

/** The identity under which a node's reports are written. */
export const nodeUser = (node: string): User => ({ name: `system:node:${node}`, groups: ['system:nodes', 'system:authenticated'] });

/** The node that a user is, or undefined. */
export function nodeOf(user: User): string | undefined {
  const prefix = 'system:node:';
  return user.name.startsWith(prefix) && user.groups.includes('system:nodes') ? user.name.slice(prefix.length) : undefined;
}

/** True for an error that another try may not meet: a store that takes no writes, a race lost too often. */
export function isPassing(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code !== 'number' || code >= 500 || code === 409 || code === 429;
}
