import { chmod, mkdir, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { VolumeMount } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { Volume } from '../../shared/kinds/volume.ts';
import type { Mount } from '../runtime/runtime.ts';
import { filesOf, isFileVolume, writeFiles } from './files.ts';
import { prepareEmptyDir, prepareHostPath, unmountAll } from './host.ts';

/** What volumes need to know from outside. */
export interface VolumeSources {
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
  /** A field or resource of the pod for the downward API. @throws Error with the kubelet's words */
  field(pod: Pod, path: string): string;
  resource(pod: Pod, ref: { readonly containerName?: string; readonly resource: string; readonly divisor?: string }): string;
}

export interface VolumesOptions {
  /** Directory of this agent; `pods/<uid>/` below it. Must be on the engine's own file system. */
  readonly root: string;
  readonly sources: VolumeSources;
}

/** A volume cannot be made: the pod waits, with a FailedMount event of this message. */
export class VolumeError extends Error {}

/**
 * The volumes of pods as directories of the host:
 *
 * ```
 * <root>/pods/<uid>/volumes/<volume>     emptyDir, and files with their ..data link
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
    await Promise.all((pod.spec.volumes ?? []).map((volume) => this.#prepare(pod, volume)));
  }

  /** Brings the files of configMap, secret, projected and downwardAPI volumes up to date. @throws VolumeError */
  async refresh(pod: Pod): Promise<void> {
    await Promise.all((pod.spec.volumes ?? []).filter(isFileVolume).map((volume) => this.#prepare(pod, volume)));
  }

  /**
   * What the engine has to mount for a container. `expand` replaces `$(NAME)` in subPathExpr.
   * @throws VolumeError for a mount of an unknown volume, or a subPath that leads out of its volume
   */
  mounts(pod: Pod, mounts: readonly VolumeMount[], expand: (text: string) => string): Promise<Mount[]> {
    return Promise.all(mounts.map((mount) => this.#mount(pod, mount, expand)));
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

  /** Removes all that was made for a pod. */
  async release(uid: string): Promise<void> {
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

  #path(pod: Pod, volume: Volume): string {
    return volume.hostPath ? volume.hostPath.path : join(this.#podFolder(pod.metadata.uid ?? ''), 'volumes', volume.name);
  }

  async #prepare(pod: Pod, volume: Volume): Promise<void> {
    try {
      const path = this.#path(pod, volume);
      const group = pod.spec.securityContext?.fsGroup;
      if (volume.hostPath) await prepareHostPath(volume.hostPath);
      else if (isFileVolume(volume)) await writeFiles(path, filesOf(pod, volume, this.#options.sources), group);
      else if (volume.emptyDir) await prepareEmptyDir(path, volume.emptyDir, group);
      else throw new VolumeError(unservedVolume(volume) ?? 'it has no source');
    } catch (error) {
      throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`);
    }
  }

  async #mount(pod: Pod, mount: VolumeMount, expand: (text: string) => string): Promise<Mount> {
    const volume = pod.spec.volumes?.find((v) => v.name === mount.name);
    if (!volume) throw new VolumeError(`cannot find volume "${mount.name}" to mount`);
    const base = this.#path(pod, volume);
    const subPath = mount.subPathExpr ? expand(mount.subPathExpr) : mount.subPath;
    const source = subPath ? await within(base, subPath) : base;
    const propagation = { None: 'rprivate', HostToContainer: 'rslave', Bidirectional: 'rshared' } as const;
    return {
      Type: 'bind', Source: source, Target: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      ReadOnly: (mount.readOnly ?? false) || isFileVolume(volume),
      BindOptions: { Propagation: propagation[mount.mountPropagation ?? 'None'] },
    };
  }
}

/** A path inside a volume, made as a directory if nothing is there. Links in it may not lead out of the volume. */
async function within(base: string, subPath: string): Promise<string> {
  const wanted = normalize(subPath);
  if (wanted.startsWith('/') || wanted === '..' || wanted.startsWith('../')) throw new VolumeError(`subPath "${subPath}" must be within the volume`);
  const path = join(base, wanted);
  if (!(await stat(path).catch(() => undefined))) await mkdir(path, { recursive: true });
  const [root, real] = await Promise.all([realpath(base), realpath(path)]);
  if (real !== root && !real.startsWith(`${root}/`)) throw new VolumeError(`subPath "${subPath}" leads out of the volume`);
  return real;
}

/** Why a volume cannot be served here, or undefined. */
export function unservedVolume(volume: Volume): string | undefined {
  const { name: _, ...sources } = volume;
  const [source] = Object.keys(sources);
  switch (source) {
    case undefined: case 'emptyDir': case 'hostPath': case 'configMap': case 'secret': case 'downwardAPI': return undefined;
    case 'projected': return volume.projected?.sources?.some((s) => s.clusterTrustBundle) ? 'projected.clusterTrustBundle is not served' : undefined;
    default: return `volumes of type ${source} are not served yet`;
  }
}

