import { ConfigError } from './config.ts';

/** Why the API cannot be served at an address, and what to do; an error that says neither stays as it is. */
export function listenFailure({ bindAddress, port }: { readonly bindAddress: string; readonly port: number }, error: NodeJS.ErrnoException): Error {
  switch (error.code) {
    case 'EADDRINUSE': return new ConfigError(`port ${port} of ${bindAddress} is taken by another program: end that, or choose another port with --port`);
    case 'EACCES': return new ConfigError(`no permission to listen on port ${port} of ${bindAddress}: ports below 1024 need root; choose another with --port, or run it as root`);
    case 'EADDRNOTAVAIL': return new ConfigError(`${bindAddress} is no address of this host: name one that is with --bind-address, or 0.0.0.0 for all`);
    default: return error;
  }
}
