import { badRequest } from '../../../shared/status.ts';
import { flag, type Query } from '../query.ts';

/** What of PodExecOptions and PodAttachOptions is about streams. */
export interface CommandOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** @throws StatusError 400 when no stream is asked for */
export function readCommandOptions(query: Query): CommandOptions {
  const tty = flag(query, 'tty');
  // A terminal has one output.
  const options = { stdin: flag(query, 'stdin'), stdout: flag(query, 'stdout'), stderr: flag(query, 'stderr') && !tty, tty };
  if (!options.stdin && !options.stdout && !options.stderr) throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  return options;
}

/** The words of an exec's command. @throws StatusError 400 when there are none */
export function readCommand(query: Query): string[] {
  const command = query.getAll('command');
  if (command.length === 0) throw badRequest('you must specify at least one command for the container');
  return command;
}

/** Ports of a port-forward over WebSocket channels. @throws StatusError 400 */
export function readPorts(query: Query): number[] {
  const texts = query.getAll('ports').flatMap((text) => text.split(',')).filter((text) => text !== '');
  if (texts.length === 0) throw badRequest('query parameter "ports" is required');
  return texts.map((text) => {
    const port = Number(text);
    if (!/^\d+$/.test(text) || port < 1 || port > 0xffff) throw badRequest(`unable to parse ${JSON.stringify(text)} as a port`);
    return port;
  });
}
