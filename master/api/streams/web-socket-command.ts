import { channels } from '../../../shared/stream-frames.ts';
import { SizeReader, statusText, type AgentCommand } from './agent-command.ts';
import type { CommandOptions } from './command-options.ts';
import type { ChannelSocket } from './web-socket-channels.ts';

/** Newest first. Only v5 can end stdin alone: its message on channel 255 names the channel that ends. */
export const webSocketCommandProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io', 'channel.k8s.io', 'base64.channel.k8s.io'] as const;

const hasJsonStatus = (protocol: string): boolean => protocol.startsWith('v4.') || protocol.startsWith('v5.');

/** Joins a client's channels with a command, until either ends. Never rejects. */
export async function serveOverWebSocket(socket: ChannelSocket, command: AgentCommand, options: CommandOptions): Promise<void> {
  const sizes = new SizeReader();
  socket.listen({
    message(channel, bytes) {
      if (channel === channels.stdin && options.stdin) return command.stdin(bytes);
      if (channel === channels.close && bytes[0] === channels.stdin && socket.protocol.startsWith('v5.')) return command.endStdin();
      if (channel === channels.resize && options.tty) for (const size of sizes.push(bytes)) void command.resize(size);
      return undefined;
    },
    // After the command's end this is nothing new to it.
    end: () => command.abandon(),
  });
  announce(socket, options);
  await command.deliver({
    output: (channel, bytes) => socket.send(channel, bytes),
    status: (status) => sendStatus(socket, status),
  });
  socket.close();
}

export function sendStatus(socket: ChannelSocket, status: Uint8Array): Promise<void> | undefined {
  return socket.send(channels.status, hasJsonStatus(socket.protocol) ? status : statusText(status));
}

/** Clients take an empty message for a sign that they are connected. */
function announce(socket: ChannelSocket, { stdout, stderr }: CommandOptions): void {
  void socket.send(stdout ? channels.stdout : stderr ? channels.stderr : channels.status, new Uint8Array(0));
}
