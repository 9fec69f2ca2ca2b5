import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import type { KubeletOptions } from './kubelet.ts';
import type { LogsOptions } from './logs.ts';
import type { PortForwardOptions } from './port-forward.ts';
import type { ProcessOptions } from './process.ts';
import type { UsageOptions } from './usage.ts';

export interface StreamOptions extends LogsOptions, ProcessOptions, PortForwardOptions, UsageOptions {
  /** What `nodes/NAME/proxy` shows. */
  readonly kubelet?: KubeletOptions;
  /** Removes the directory of a volume of this node. */
  readonly removeVolume?: (volume: string, path: string) => Promise<void>;
}

/** Serves a stream that the master asks for. What it takes is loaded when it is first asked for: most nodes never are. */
export async function* openStream(request: StreamRequest, stream: ByteStream, options: StreamOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  switch (request.type) {
    case 'logs': return yield* (await import('./logs.ts')).logs(request, options, signal);
    case 'exec': return yield* (await import('./exec.ts')).exec(request, stream, options, signal);
    case 'attach': return yield* (await import('./attach.ts')).attach(request, stream, options, signal);
    case 'relay': return yield* (await import('./port-forward.ts')).relay(request, stream, options, signal);
    case 'usage': return yield* (await import('./usage.ts')).usage(options);
    case 'kubelet': return yield* (await import('./kubelet.ts')).kubelet(stream, options.kubelet, signal);
    case 'removeVolume': return remove(request, options);
    case 'portForward': return yield* (await import('./port-forward.ts')).portForward(request, stream, options, signal);
  }
}

function remove({ volume, path }: Extract<StreamRequest, { type: 'removeVolume' }>, { removeVolume }: StreamOptions): Promise<void> {
  if (!removeVolume) throw new StreamReset(501, 'this agent keeps no volumes');
  return removeVolume(volume, path);
}
