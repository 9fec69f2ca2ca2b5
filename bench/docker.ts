import { request } from 'node:http';

const socketPath = (process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock').replace(/^unix:\/\//, '');

/** One call of the Docker Engine API. @throws on an error status */
export function docker(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, headers: { 'content-type': 'application/json' } }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => { text += chunk.toString(); }).on('end', () => {
        if ((answer.statusCode ?? 500) >= 400) reject(new Error(`${method} ${path}: ${text}`));
        else resolve(text.startsWith('{') ? JSON.parse(text) as Record<string, unknown> : {});
      });
    });
    call.on('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Creates and starts what one pod of one container is: a pause container, and an app container in its namespaces. */
export async function startRawPod(name: string, image: string, command: readonly string[]): Promise<void> {
  const labels = { 'io.wherry.bench': 'raw' };
  const pause = await docker('POST', `/containers/create?name=${name}-pause`, { Image: 'wherry/pause:1', Labels: labels, HostConfig: { IpcMode: 'shareable' } });
  await docker('POST', `/containers/${String(pause['Id'])}/start`);
  const network = `container:${String(pause['Id'])}`;
  const app = await docker('POST', `/containers/create?name=${name}-app`, { Image: image, Cmd: command, Labels: labels, HostConfig: { NetworkMode: network, IpcMode: network } });
  await docker('POST', `/containers/${String(app['Id'])}/start`);
}

/** Removes containers by name. */
export async function removeContainers(names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => docker('DELETE', `/containers/${name}?force=1`).catch(() => undefined)));
}
