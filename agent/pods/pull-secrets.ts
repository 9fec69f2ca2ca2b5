import type { Secret } from '../../shared/kinds/secret.ts';
import type { RegistryAuth } from '../runtime/runtime.ts';

/** Host of the registry that an image comes from, as Docker reads names: `docker.io` unless the first part is a host. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split('/');
  const host = rest.length > 0 && first && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io';
  return host === 'index.docker.io' ? 'docker.io' : host;
}

interface Entry { readonly username?: string; readonly password?: string; readonly auth?: string }

/**
 * Credentials for an image among a pod's pull secrets, in the order in which they are to be tried: what names most of the
 * image's path first, as the kubelet's keyring has it. Unreadable secrets are passed over.
 */
export function authsFor(image: string, secrets: readonly Secret[]): RegistryAuth[] {
  const wanted = `${registryOf(image)}/${pathOf(image)}`;
  const found = secrets.flatMap((secret) => Object.entries(entriesOf(secret)).map(([key, entry]) => ({ place: placeOf(key), auth: authOf(key, entry) })));
  const fitting = found.filter(({ place }) => covers(place, wanted));
  return fitting.sort((a, b) => (a.place === b.place ? 0 : a.place < b.place ? 1 : -1)).map(({ auth }) => auth);
}

/** Name of the image within its registry, without tag and digest. */
function pathOf(image: string): string {
  const bare = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const [first, ...rest] = bare.split('/');
  const hosted = rest.length > 0 && first && (/[.:]/.test(first) || first === 'localhost');
  const path = hosted ? rest.join('/') : bare;
  return registryOf(image) === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
}

/** What an entry is for: `host`, `host:port` or `host/path`, without the decorations that Docker's own files have. */
function placeOf(key: string): string {
  const [host = '', ...path] = key.replace(/^https?:\/\//, '').replace(/\/+$/, '').split('/');
  const folder = path.join('/').replace(/^v[12](\/|$)/, '');
  const name = host === 'index.docker.io' ? 'docker.io' : host;
  return folder ? `${name}/${folder}` : name;
}

/** Whether a place is the image's: its host, part by part and with asterisks in them, its port, and a beginning of its path. */
function covers(place: string, wanted: string): boolean {
  const [placeHost = '', ...placePath] = place.split('/');
  const [host = '', ...path] = wanted.split('/');
  const [placeName = '', placePort] = placeHost.split(':');
  const [name = '', port] = host.split(':');
  const [globs, parts] = [placeName.split('.'), name.split('.')];
  if (placePort !== port || globs.length !== parts.length || !globs.every((glob, index) => fits(glob, parts[index] ?? ''))) return false;
  return path.join('/').startsWith(placePath.join('/'));
}

const fits = (glob: string, text: string): boolean =>
  new RegExp(`^${glob.split('*').map((part) => part.replace(/[\\^$+?.()|[\]{}]/g, '\\$&')).join('.*')}$`).test(text);

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
