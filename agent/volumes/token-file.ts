import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Volume } from '../../shared/kinds/volume.ts';
import type { PodTokens, TokenSource } from './tokens.ts';
import { MasterAwayError } from './master-away.ts';

/** When a token was issued, as it says itself, in ms since 1970; undefined for what is no token. */
export function tokenTimes(token: string): { readonly issuedMs: number } | undefined {
  try {
    const { iat } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as { iat?: unknown };
    return typeof iat === 'number' ? { issuedMs: iat * 1000 } : undefined;
  } catch {
    return undefined;
  }
}

/** Volumes that the master added itself, for whoever wants to call it. */
const apiAccess = 'kube-api-access-';

/**
 * Gets the tokens of a projected volume before its files are written. A pod is not kept from starting without a master
 * only because it would be able to call that master: such a volume is then made without its token, which comes with the
 * link. A volume that the pod's author named waits.
 * @throws Error with the kubelet's words
 */
export async function ensureTokens(tokens: Pick<PodTokens, 'ensure'>, pod: Pod, volume: Volume, folder: string): Promise<void> {
  for (const { serviceAccountToken: source } of volume.projected?.sources ?? []) {
    if (!source) continue;
    const written = (): Promise<string | undefined> => readFile(join(folder, source.path), 'utf8').catch(() => undefined);
    await tokens.ensure(pod, source, written).catch((error: Error) => {
      if (!volume.name.startsWith(apiAccess) || !(error.cause instanceof MasterAwayError)) throw error;
    });
  }
}

/** Owner and mode of a token's file: the pod's one user's alone where it has one, the group's with fsGroup. */
export function tokenFileOwner({ spec }: Pod, mode: number): { readonly mode: number; readonly owner?: number } {
  const { runAsUser, fsGroup } = spec.securityContext ?? {};
  const users = new Set([...(spec.initContainers ?? []), ...spec.containers].map((container) => container.securityContext?.runAsUser ?? runAsUser));
  const [owner] = users;
  if (users.size === 1 && owner !== undefined) return { mode: 0o600, owner };
  return { mode: fsGroup === undefined ? mode : 0o600 };
}

/** What {@link PodTokens} hold for one pod. */
export type TokenOf = (source: TokenSource) => string | undefined;
