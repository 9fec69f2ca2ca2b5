import type { Secret } from '../../shared/kinds/secret.ts';
import type { RegistryAuth } from '../runtime/runtime.ts';

/** Host of the registry that an image comes from, as Docker reads names: `docker.io` unless the first part is a host. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split('/');
  const host = rest.length > 0 && first && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io';
  return host === 'index.docker.io' ? 'docker.io' : host;
}

interface Entry { readonly username?: string; readonly password?: string; readonly auth?: string }

/** Credentials for an image among a pod's pull secrets; the first that names its registry. Unreadable secrets are passed over. */
export function authFor(image: string, secrets: readonly Secret[]): RegistryAuth | undefined {
  const wanted = registryOf(image);
  for (const secret of secrets) {
    for (const [key, entry] of Object.entries(entriesOf(secret))) {
      const host = key.replace(/^https?:\/\//, '').split('/')[0] ?? '';
      if ((host === 'index.docker.io' ? 'docker.io' : host) === wanted) return authOf(key, entry);
    }
  }
  return undefined;
}

function entriesOf(secret: Secret): Record<string, Entry> {
  try {
    const json = secret.data?.['.dockerconfigjson'];
    if (json) return (JSON.parse(Buffer.from(json, 'base64').toString()) as { auths?: Record<string, Entry> }).auths ?? {};
    const old = secret.data?.['.dockercfg'];
    return old ? JSON.parse(Buffer.from(old, 'base64').toString()) as Record<string, Entry> : {};
  } catch {
    return {};
  }
}

function authOf(serveraddress: string, entry: Entry): RegistryAuth {
  const [username = '', ...password] = entry.auth ? Buffer.from(entry.auth, 'base64').toString().split(':') : [entry.username ?? ''];
  return { username, password: entry.auth ? password.join(':') : entry.password ?? '', serveraddress };
}
