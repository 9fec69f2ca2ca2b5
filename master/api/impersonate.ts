import type { IncomingMessage } from 'node:http';
import { badRequest } from '../../shared/status.ts';
import type { User } from '../registry/types.ts';
import { refusal, type Access, type Authorizer } from './authorize.ts';

/** What one header asks to be. */
interface Wish {
  readonly resource: 'users' | 'groups' | 'serviceaccounts' | 'uids' | 'userextras';
  readonly group: string;
  readonly namespace: string;
  readonly name: string;
  /** Key of an extra. */
  readonly subresource?: string;
}

const extraPrefix = 'impersonate-extra-';

/** True when a request wants to be made as somebody else (`kubectl --as`). */
export const impersonates = ({ headers }: IncomingMessage): boolean =>
  headers['impersonate-user'] !== undefined || headers['impersonate-group'] !== undefined || headers['impersonate-uid'] !== undefined
  || Object.keys(headers).some((name) => name.startsWith(extraPrefix));

/**
 * The user that a request is to be made as; every part of it must be allowed by verb `impersonate`.
 * @throws StatusError 400, 403
 */
export async function impersonate(req: IncomingMessage, user: User, authorizer: Authorizer): Promise<User> {
  const name = header(req, 'impersonate-user')[0];
  if (!name) throw badRequest('requested groups, uid or extra without impersonating a user');
  const groups = header(req, 'impersonate-group');
  const [uid] = header(req, 'impersonate-uid');
  const extra = extras(req);
  for (const wish of [...wishes(name, groups, uid), ...extraWishes(extra)]) await check(wish, user, authorizer);
  return { name, groups: withImplied(name, groups), ...(uid ? { uid } : {}), ...(Object.keys(extra).length > 0 ? { extra } : {}) };
}

/** `Impersonate-Extra-KEY: value`; keys are percent-encoded where a header cannot hold them. */
function extras(req: IncomingMessage): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const name of Object.keys(req.headers)) if (name.startsWith(extraPrefix)) found[decoded(name.slice(extraPrefix.length))] = header(req, name);
  return found;
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

const extraWishes = (extra: Readonly<Record<string, readonly string[]>>): Wish[] =>
  Object.entries(extra).flatMap(([subresource, values]) => values.map((name): Wish => ({ resource: 'userextras', group: 'authentication.k8s.io', namespace: '', subresource, name })));

/** Values of a header, which may be repeated. Each is one name, as it is: those of groups in directories have commas in them. */
const header = ({ headersDistinct }: IncomingMessage, name: string): string[] => (headersDistinct[name] ?? []).filter(Boolean);

function wishes(name: string, groups: readonly string[], uid: string | undefined): Wish[] {
  const account = serviceAccount(name);
  return [
    account ? { resource: 'serviceaccounts', group: '', ...account } : { resource: 'users', group: '', namespace: '', name },
    ...groups.map((group): Wish => ({ resource: 'groups', group: '', namespace: '', name: group })),
    ...(uid ? [{ resource: 'uids', group: 'authentication.k8s.io', namespace: '', name: uid } as const] : []),
  ];
}

function serviceAccount(name: string): { namespace: string; name: string } | undefined {
  const found = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  return found ? { namespace: found[1]!, name: found[2]! } : undefined;
}

async function check({ resource, group, namespace, name, subresource = '' }: Wish, user: User, authorizer: Authorizer): Promise<void> {
  const access: Access = { user, verb: 'impersonate', path: '', resource: { group, resource, subresource, namespace, name } };
  const { allowed, reason } = await authorizer.authorize(access);
  if (!allowed) throw refusal(access, reason);
}

/** Groups that come with being somebody. */
function withImplied(name: string, groups: readonly string[]): string[] {
  const account = serviceAccount(name);
  const own = account && groups.length === 0 ? ['system:serviceaccounts', `system:serviceaccounts:${account.namespace}`] : [];
  const all = [...groups, ...own];
  if (name === 'system:anonymous') return all.includes('system:unauthenticated') ? all : [...all, 'system:unauthenticated'];
  return all.includes('system:authenticated') ? all : [...all, 'system:authenticated'];
}
