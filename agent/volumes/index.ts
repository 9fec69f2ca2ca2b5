import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { Container, VolumeMount } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { Volume } from '../../shared/kinds/volume.ts';
import type { Mount } from '../runtime/runtime.ts';
import { filesOf, isFileVolume, writeFiles } from './files.ts';
import { ensureTokens } from './token-file.ts';
import type { PodTokens } from './tokens.ts';
import { prepareEmptyDir, prepareHostPath } from './host.ts';
import { prepareLocal } from './local.ts';
import { memoryLimit } from './memory-limit.ts';
import { unmountAll } from './mount-table.ts';
import { prepareNfs } from './nfs.ts';
import { setOwnership } from './ownership.ts';
import { resolve, type Claim, type Resolved } from './source.ts';
import { prepareSubPath, removeUnmounted, subPathError } from './sub-path.ts';
import { usedBytes } from './usage.ts';
import { VolumeError } from './volume-error.ts';

/** What volumes need to know from outside. */
export interface VolumeSources {
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
  claim(namespace: string, name: string): Claim | undefined;
  /** A field or resource of the pod for the downward API. @throws Error with the kubelet's words */
  field(pod: Pod, path: string): string;
  resource(pod: Pod, ref: { readonly containerName?: string; readonly resource: string; readonly divisor?: string }): string;
}

export interface VolumesOptions {
  /** Directory of this agent; `pods/<uid>/` below it. Must be on the engine's own file system. */
  readonly root: string;
  readonly sources: VolumeSources;
  /** Of the node: what a tmpfs may have at most. */
  readonly memoryBytes?: () => number;
  /** Where projected service account tokens come from; without it, there are none. */
  readonly tokens?: Pick<PodTokens, 'ensure' | 'token' | 'release'>;
}

/**
 * The volumes of pods as directories of the host:
 *
 * ```
 * <root>/pods/<uid>/volumes/<volume>     emptyDir, NFS, and files with their ..data link
 * <root>/pods/<uid>/subpaths/<volume>/<container>/<n>   parts of volumes that are mounted by themselves
 * <root>/pods/<uid>/containers/<name>/<attempt>   termination messages
 * ```
 */
export class Volumes {
  readonly #options: VolumesOptions;

  constructor(options: VolumesOptions) {
    this.#options = options;
  }

  /** Makes all volumes of a pod; those that are there stay as they are, but files are brought up to date. @throws VolumeError */
  async prepare(pod: Pod): Promise<void> {
    await removeUnmounted(join(this.#podFolder(pod.metadata.uid ?? ''), 'subpaths'));
    await Promise.all((pod.spec.volumes ?? []).map((volume) => this.#prepare(pod, volume)));
  }

  /** Brings the files of configMap, secret, projected and downwardAPI volumes up to date. @throws VolumeError */
  async refresh(pod: Pod): Promise<void> {
    await Promise.all((pod.spec.volumes ?? []).filter(isFileVolume).map((volume) => this.#prepare(pod, volume)));
  }

  /**
   * What the engine has to mount for a container. `lookup` gives the variables that subPathExpr may name.
   * @throws VolumeError for a mount of an unknown volume, or a subPath that leads out of its volume
   */
  mounts(pod: Pod, container: Pick<Container, 'name' | 'volumeMounts'>, lookup: (name: string) => string | undefined): Promise<Mount[]> {
    return Promise.all((container.volumeMounts ?? []).map((mount, index) => this.#mount(pod, container.name, mount, index, lookup)));
  }

  /** An empty file for a container's termination message. */
  async messageFile(pod: Pod, container: string, attempt: number): Promise<string> {
    const folder = join(this.#podFolder(pod.metadata.uid ?? ''), 'containers', container);
    await mkdir(folder, { recursive: true });
    const file = join(folder, String(attempt));
    await writeFile(file, '');
    await chmod(file, 0o666);
    return file;
  }

  /** A file of a pod that is mounted as it is; written in place, and only if it says something else. Gives its path. */
  async podFile(pod: Pod, name: string, text: string): Promise<string> {
    const folder = this.#podFolder(pod.metadata.uid ?? '');
    const file = join(folder, name);
    // The pod may write to it, and make it as large as the disk.
    const { size } = await stat(file).catch(() => ({ size: -1 }));
    if (size === Buffer.byteLength(text) && (await readFile(file, 'utf8')) === text) return file;
    await mkdir(folder, { recursive: true });
    await writeFile(file, text);
    await chmod(file, 0o644);
    return file;
  }

  /** Removes what a pod has stored, but not what its status is read from. */
  async empty(uid: string): Promise<void> {
    const folder = this.#podFolder(uid);
    await unmountAll(folder);
    for (const part of ['volumes', 'subpaths', 'owned']) await rm(join(folder, part), { recursive: true, force: true });
  }

  /** Removes all that was made for a pod. */
  async release(uid: string): Promise<void> {
    this.#options.tokens?.release(uid);
    const folder = this.#podFolder(uid);
    await unmountAll(folder);
    await rm(folder, { recursive: true, force: true });
  }

  /** UIDs of the pods for which something is there. */
  async known(): Promise<string[]> {
    return readdir(join(this.#options.root, 'pods')).catch(() => []);
  }

  #podFolder(uid: string): string {
    return join(this.#options.root, 'pods', uid.replace(/[^A-Za-z0-9.-]/g, '_').replace(/^\.+/, '_'));
  }

  #resolve(pod: Pod, volume: Volume): Resolved {
    return resolve(pod, volume, (namespace, name) => this.#options.sources.claim(namespace, name));
  }

  #path(pod: Pod, volume: Volume, { source }: Resolved): string {
    switch (source.type) {
      case 'hostPath': return source.hostPath.path;
      case 'local': return source.path;
      case 'files': case 'emptyDir': case 'nfs': return join(this.#podFolder(pod.metadata.uid ?? ''), 'volumes', volume.name);
    }
  }

  async #prepare(pod: Pod, volume: Volume): Promise<void> {
    let name = volume.name;
    try {
      const resolved = this.#resolve(pod, volume);
      name = resolved.name;
      await this.#setUp(pod, volume, resolved, this.#path(pod, volume, resolved));
    } catch (error) {
      if (error instanceof VolumeError) throw error;
      throw new VolumeError(`MountVolume.SetUp failed for volume "${name}" : ${(error as Error).message}`);
    }
  }

  async #setUp(pod: Pod, volume: Volume, { name, source }: Resolved, path: string): Promise<void> {
    const group = pod.spec.securityContext?.fsGroup;
    switch (source.type) {
      case 'files': return this.#writeFiles(pod, volume, path, group);
      case 'emptyDir': return prepareEmptyDir(path, source.emptyDir, group, memoryLimit(pod, this.#options.memoryBytes?.()));
      case 'hostPath': return prepareHostPath(source.hostPath);
      case 'nfs': return prepareNfs(path, source.nfs, source.options);
      case 'local':
        await prepareLocal(name, path, source.make);
        return this.#own(pod, volume, path, group);
    }
  }

  /** Once for each pod: a walk through all of a volume takes its time. */
  async #own(pod: Pod, volume: Volume, path: string, group: number | undefined): Promise<void> {
    if (group === undefined) return;
    const folder = join(this.#podFolder(pod.metadata.uid ?? ''), 'owned');
    if (await stat(join(folder, volume.name)).catch(() => undefined)) return;
    await setOwnership(path, group, {
      readOnly: volume.persistentVolumeClaim?.readOnly ?? false, onRootMismatch: pod.spec.securityContext?.fsGroupChangePolicy === 'OnRootMismatch',
    });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, volume.name), '');
  }

  async #writeFiles(pod: Pod, volume: Volume, path: string, group: number | undefined): Promise<void> {
    const { sources, tokens } = this.#options;
    if (tokens) await ensureTokens(tokens, pod, volume, path);
    await writeFiles(path, filesOf(pod, volume, sources, (source) => tokens?.token(pod, source)), group);
  }

  async #mount(pod: Pod, container: string, mount: VolumeMount, index: number, lookup: (name: string) => string | undefined): Promise<Mount> {
    const volume = pod.spec.volumes?.find((v) => v.name === mount.name);
    if (!volume) throw new VolumeError(`cannot find volume ${JSON.stringify(mount.name)} to mount into container ${JSON.stringify(container)}`);
    const resolved = this.#resolve(pod, volume);
    const base = this.#path(pod, volume, resolved);
    const subPath = mount.subPathExpr ? expandAll(mount.subPathExpr, lookup) : mount.subPath;
    const source = subPath ? await this.#subPath(pod, container, mount, index, base, subPath) : base;
    const propagation = mount.mountPropagation === 'HostToContainer' ? 'rslave' : mount.mountPropagation === 'Bidirectional' ? 'rshared' : undefined;
    return {
      Type: 'bind', Source: source, Target: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      ReadOnly: (mount.readOnly ?? false) || resolved.readOnly,
      // Left to the engine where nothing is asked for: private, except over its own directory, which it shares only as a slave.
      ...(propagation ? { BindOptions: { Propagation: propagation } } : {}),
    };
  }

  async #subPath(pod: Pod, container: string, mount: VolumeMount, index: number, base: string, subPath: string): Promise<string> {
    const why = subPathError(subPath);
    if (why !== undefined) throw new VolumeError(why);
    const target = join(this.#podFolder(pod.metadata.uid ?? ''), 'subpaths', mount.name, container, String(index));
    return prepareSubPath({ base, subPath, target }).catch((error: Error) => {
      throw new VolumeError(`failed to prepare subPath for volumeMount ${JSON.stringify(mount.name)} of container ${JSON.stringify(container)}: ${error.message}`);
    });
  }

  /** Bytes that a pod's emptyDirs use, by volume: of those with a limit, or of those on disk. */
  async usage(pod: Pod, which: 'limited' | 'disk' = 'limited'): Promise<Map<string, number>> {
    const asked = (pod.spec.volumes ?? []).filter(({ emptyDir }) => (which === 'limited' ? emptyDir?.sizeLimit : emptyDir && emptyDir.medium !== 'Memory'));
    return new Map(await Promise.all(asked.map(async (volume) => [volume.name, await usedBytes(this.#path(pod, volume, this.#resolve(pod, volume)))] as const)));
  }
}

/** Replaces `$(NAME)`; `$$` is a dollar sign. @throws VolumeError for a name that is not there */
function expandAll(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (_, name: string | undefined) => {
    if (name === undefined) return '$';
    const value = lookup(name);
    if (value === undefined) throw new VolumeError(`missing value for ${JSON.stringify(name)}`);
    return value;
  });
}
