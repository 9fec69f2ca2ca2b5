import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { badRequest, internalError, StatusError } from '../../shared/status.ts';
import { containerOf, hostOf } from '../registry/pod-container.ts';
import type { Registry } from '../registry/registry.ts';
import { AgentCommand, asStatus } from './streams/agent-command.ts';
import { readCommand, readCommandOptions, readPorts, type CommandOptions } from './streams/command-options.ts';
import type { Forwarding } from './streams/forwarding.ts';
import { serveOverSpdy, spdyCommandProtocols } from './streams/spdy-command.ts';
import { servePortsOverSpdy, spdyPortProtocols } from './streams/spdy-ports.ts';
import { socketTransport, webSocketTransport } from './streams/transport.ts';
import { acceptWebSocket, channelSocket, chooseProtocol } from './streams/web-socket-channels.ts';
import { sendStatus, serveOverWebSocket, webSocketCommandProtocols } from './streams/web-socket-command.ts';
import { servePortsOverWebSocket, webSocketPortProtocols } from './streams/web-socket-ports.ts';
import type { SubresourceHandler, Upgrade } from './subresource.ts';
import { refuseUpgrade } from './upgrade.ts';

export interface PodStreamsOptions {
  readonly registry: Registry;
  /** @throws StreamReset when the node is not connected, or has too many streams */
  readonly openStream: (node: string, request: StreamRequest) => ByteStream;
  /** How often clients are pinged: one that is gone is noticed so even while nothing of it is read. Default 5 s. */
  readonly pingMs?: number;
}

const defaultPingMs = 5_000;

/** SPDY frames in a WebSocket's messages, which gets them through proxies that know only WebSockets. */
const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/** `pods/NAME/exec`, `attach` and `portforward`, over WebSocket or SPDY/3.1. */
export function podStreams(options: PodStreamsOptions): SubresourceHandler[] {
  const handler = (subresource: string, upgrade: (upgrade: Upgrade) => Promise<void>): SubresourceHandler =>
    ({ resource: 'pods', subresource, upgrade, answer: () => { throw badRequest('Upgrade request required'); } });
  return [
    handler('exec', (upgrade) => {
      const command = readCommand(upgrade.x.query);
      return serveCommand(options, upgrade, (target, streams) => ({ type: 'exec', ...target, command, ...streams }));
    }),
    handler('attach', (upgrade) => serveCommand(options, upgrade, (target, streams) => ({ type: 'attach', ...target, ...streams }))),
    handler('portforward', (upgrade) => servePorts(options, upgrade)),
  ];
}

interface Target { readonly namespace: string; readonly pod: string; readonly uid: string; readonly container: string }

async function serveCommand(options: PodStreamsOptions, upgrade: Upgrade, make: (target: Target, streams: CommandOptions) => StreamRequest): Promise<void> {
  const { x, request: { namespace, name }, socket } = upgrade;
  const pod = options.registry.get(pods, namespace, name).object;
  const container = containerOf(pod, x.query.get('container') ?? '');
  const node = hostOf(pod);
  const streams = readCommandOptions(x.query);
  const protocol = isWebSocket(upgrade) ? chooseProtocol(x.req, webSocketCommandProtocols) : spdyProtocol(upgrade, spdyCommandProtocols);
  if (protocol === undefined) return;
  const command = new AgentCommand(dial(options, node, make({ namespace, pod: name, uid: pod.metadata.uid ?? '', container }, streams)));
  const gone = (): void => command.abandon();
  socket.once('close', gone);
  const refused = await command.started().then(() => undefined, (error: Error) => error.message);
  socket.off('close', gone);
  const { pingMs = defaultPingMs } = options;
  if (isWebSocket(upgrade)) return serveWebSocketCommand(upgrade, protocol, pingMs, command, streams, refused);
  if (refused !== undefined) return refuseUpgrade(socket, 500, 'Internal Server Error', refused, 'text/plain; charset=utf-8');
  switchToSpdy(upgrade, protocol);
  return serveOverSpdy(socketTransport(socket, upgrade.head), protocol, command, streams, pingMs);
}

async function serveWebSocketCommand({ x, socket, head }: Upgrade, protocol: string, pingMs: number, command: AgentCommand, streams: CommandOptions, refused: string | undefined): Promise<void> {
  const webSocket = await acceptWebSocket(x.req, socket, head, protocol, pingMs).catch(() => undefined);
  if (!webSocket) return command.abandon();
  const channels = channelSocket(webSocket, socket, protocol);
  if (refused === undefined) return serveOverWebSocket(channels, command, streams);
  await sendStatus(channels, asStatus(internalError(`unable to upgrade connection: ${refused}`)));
  return channels.close();
}

async function servePorts(options: PodStreamsOptions, upgrade: Upgrade): Promise<void> {
  const { x, request: { namespace, name }, socket, head } = upgrade;
  const { pingMs = defaultPingMs } = options;
  const forwarding = forwardingTo(options, options.registry.get(pods, namespace, name).object);
  if (!isWebSocket(upgrade)) {
    const protocol = spdyProtocol(upgrade, spdyPortProtocols);
    if (protocol === undefined) return;
    switchToSpdy(upgrade, protocol);
    return servePortsOverSpdy(socketTransport(socket, head), forwarding, pingMs);
  }
  const protocol = chooseProtocol(x.req, [tunnelProtocol, ...webSocketPortProtocols]);
  const ports = protocol === tunnelProtocol ? [] : readPorts(x.query);
  const webSocket = await acceptWebSocket(x.req, socket, head, protocol, pingMs).catch(() => undefined);
  if (!webSocket) return;
  if (protocol === tunnelProtocol) return servePortsOverSpdy(webSocketTransport(webSocket, socket), forwarding, pingMs);
  return servePortsOverWebSocket(channelSocket(webSocket, socket, protocol), ports, forwarding);
}

function forwardingTo(options: PodStreamsOptions, { metadata, spec }: Pod): Forwarding {
  const node = hostOf({ metadata, spec } as Pod);
  const { namespace = '', name = '', uid = '' } = metadata;
  return {
    open: (port) => options.openStream(node, { type: 'portForward', namespace, pod: name, uid, port }),
    describe: (port, why) => `error forwarding port ${port} to pod ${name}, uid ${uid}: ${why}`,
  };
}

/** @throws StatusError */
function dial(options: PodStreamsOptions, node: string, request: StreamRequest): ByteStream {
  try {
    return options.openStream(node, request);
  } catch (error) {
    if (error instanceof StreamReset) throw new StatusError(500, '', `error dialing backend: ${error.message}`);
    throw error;
  }
}

const isWebSocket = ({ x }: Upgrade): boolean => x.header('upgrade').toLowerCase() === 'websocket';

/** The protocol to speak over SPDY, or undefined when the client was told that there is none. @throws StatusError 400 for another upgrade */
function spdyProtocol({ x, socket }: Upgrade, served: readonly string[]): string | undefined {
  if (x.header('upgrade').toLowerCase() !== 'spdy/3.1') throw badRequest(`unable to upgrade: unknown protocol ${JSON.stringify(x.header('upgrade'))}`);
  const offered = x.header('x-stream-protocol-version').split(',').map((word) => word.trim()).filter(Boolean);
  // Clients of the first versions named none.
  const chosen = offered.length === 0 ? served[served.length - 1] : offered.find((word) => served.includes(word));
  if (chosen === undefined) {
    refuseUpgrade(socket, 403, 'Forbidden', `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${served.join(' ')}]`, 'text/plain; charset=utf-8');
  }
  return chosen;
}

function switchToSpdy({ socket }: Upgrade, protocol: string): void {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`);
}
