#!/usr/bin/env python3
"""Write down what the running programs and the kernel say of the containers.

usage: truth.py OUT.json docker|podman CLIENT...
    or truth.py OUT.json containerd SNAPSHOTTER CTR...   or truth.py OUT.json storage ROOT
"""
import hashlib, json, os, stat, subprocess, sys, tempfile

def run(*a):
    return subprocess.run(a, check=True, stdout=subprocess.PIPE).stdout.decode('utf8')

TYPES = {stat.S_IFREG: 'f', stat.S_IFDIR: 'd', stat.S_IFLNK: 'l', stat.S_IFCHR: 'c', stat.S_IFBLK: 'b', stat.S_IFIFO: 'p', stat.S_IFSOCK: 's'}

def walk(root):
    out, todo = [], ['']
    while todo:
        rel = todo.pop()
        p = root + rel
        st = os.lstat(p)
        e = {'path': rel or '/', 'type': TYPES[stat.S_IFMT(st.st_mode)], 'mode': '%04o' % stat.S_IMODE(st.st_mode), 'uid': st.st_uid, 'gid': st.st_gid, 'mtime_ns': st.st_mtime_ns}
        if e['type'] == 'f':
            e['size'] = st.st_size
            e['sha256'] = hashlib.sha256(open(p, 'rb').read()).hexdigest()
        elif e['type'] == 'l':
            e['target'] = os.readlink(p)
        elif e['type'] in 'cb':
            e['rdev'] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
        x = {k: os.getxattr(p, k, follow_symlinks=False).hex() for k in os.listxattr(p, follow_symlinks=False)}
        if x:
            e['xattrs_hex'] = x
        out.append(e)
        if e['type'] == 'd':
            todo += [rel + '/' + n for n in os.listdir(p or '/')]
    return sorted(out, key=lambda e: e['path'])

def mounted(mounts):
    """The tree of containerd's mounts, read-only."""
    with tempfile.TemporaryDirectory() as at:
        n = 0
        for m in mounts:
            o = ['ro' if x == 'rw' else x for x in m['options'] if x not in ('workdir',)]
            o = [x for x in o if not x.startswith('workdir=')]
            up = [x[9:] for x in o if x.startswith('upperdir=')]
            if up:
                o = ['lowerdir=' + up[0] + ':' + x[9:] if x.startswith('lowerdir=') else x for x in o if not x.startswith('upperdir=')]
            run('mount', '-t', m['type'] if m['type'] != 'bind' else 'none', '-o', ','.join(o + ['bind'] if m['type'] == 'bind' else o), m['source'], at)
            n += 1
        try:
            return walk(at)
        finally:
            for _ in range(n):
                run('umount', at)

def containerd(snapshotter, ctr):
    t = {'namespaces': {}}
    for ns in run(*ctr, 'namespaces', 'ls', '-q').split():
        c = lambda *a: run(*ctr, '-n', ns, *a)
        tasks = {l.split()[0]: l.split()[2] for l in c('tasks', 'ls').splitlines()[1:]}
        N = t['namespaces'][ns] = {'containers': [], 'images': [{'ref': r, 'inspect': ''} for r in c('images', 'ls', '-q').split()], 'snapshots': {snapshotter: []}, 'image_views': {}}
        for l in c('snapshots', '--snapshotter', snapshotter, 'ls').splitlines()[1:]:
            f = l.split()
            N['snapshots'][snapshotter].append({'key': f[0], 'parent': f[1] if len(f) == 3 else '', 'kind': f[-1]})
        for cid in c('containers', 'ls', '-q').split():
            root = '/run/containerd/io.containerd.runtime.v2.task/%s/%s/rootfs' % (ns, cid)
            C = {'id': cid, 'task': tasks.get(cid, 'none'), 'info': json.loads(c('containers', 'info', cid))}
            if os.path.ismount(root):
                C['merged'] = walk(root)
            elif C['info'].get('SnapshotKey'):
                with tempfile.TemporaryDirectory() as at:
                    subprocess.run(c('snapshots', '--snapshotter', snapshotter, 'mounts', at, C['info']['SnapshotKey']), shell=True, check=True)
                    try:
                        C['merged'] = walk(at)
                    finally:
                        run('umount', at)
            N['containers'].append(C)
        for r in N['snapshots'][snapshotter]:
            if r['kind'] == 'Active' and r['parent'] and snapshotter + ' ' + r['parent'] not in N['image_views']:
                c('snapshots', '--snapshotter', snapshotter, 'view', 'truth', r['parent'])
                c('snapshots', '--snapshotter', snapshotter, 'label', 'truth', 'containerd.io/gc.root=truth')
                with tempfile.TemporaryDirectory() as at:
                    subprocess.run(c('snapshots', '--snapshotter', snapshotter, 'mounts', at, 'truth'), shell=True, check=True)
                    try:
                        N['image_views'][snapshotter + ' ' + r['parent']] = walk(at)
                    finally:
                        run('umount', at)
                c('snapshots', '--snapshotter', snapshotter, 'rm', 'truth')
    return t

def whole(i):
    """The tree of a container whose driver keeps whole trees, or whose files containerd keeps."""
    driver = (i.get('GraphDriver') or {}).get('Name') or i['Driver']
    if 'StaticDir' in i or 'OCIRuntime' in i:  # Podman's: the store's folder of the layer
        store = json.loads(run('podman', 'info', '--format', 'json'))['store']['graphRoot']
        for c in json.load(open('%s/%s-containers/containers.json' % (store, driver))):
            if c['id'] == i['Id']:
                return walk('%s/%s/%s' % (store, {'vfs': 'vfs/dir', 'btrfs': 'btrfs/subvolumes'}[driver], c['layer']))
    root = os.environ.get('ROOT', '/var/lib/docker')
    at = '%s/image/%s/layerdb/mounts/%s/mount-id' % (root, driver, i['Id'])
    if os.path.exists(at):
        return walk('%s/%s/%s' % (root, {'vfs': 'vfs/dir', 'btrfs': 'btrfs/subvolumes'}[driver], open(at).read()))
    for at in ('%s/rootfs/%s/%s' % (root, driver, i['Id']),):
        if os.path.ismount(at):
            return walk(at)
    ctr = os.environ.get('CTR', 'ctr -n moby').split()
    with tempfile.TemporaryDirectory() as at:
        subprocess.run(run(*ctr, 'snapshots', '--snapshotter', i.get('Driver') or driver, 'mounts', at, i['Id']), shell=True, check=True)
        try:
            return walk(at)
        finally:
            run('umount', at)

def engine(d):
    t = {'containers': [], 'images': [], 'volumes': [], 'networks': []}
    for i in sorted(set(run(*d, 'images', '-a', '-q', '--no-trunc').split())):
        t['images'].append({'inspect': json.loads(run(*d, 'image', 'inspect', i))[0]})
    for cid in run(*d, 'ps', '-a', '-q', '--no-trunc').split():
        i = json.loads(run(*d, 'inspect', '--type', 'container', cid))[0]
        C = {'id': cid, 'inspect': i, 'diff': run(*d, 'diff', cid).splitlines()}
        g = (i.get('GraphDriver') or {}).get('Data') or {}
        if g.get('MergedDir') and os.path.ismount(g['MergedDir']) and not os.environ.get('FUSE'):
            C['merged'] = walk(g['MergedDir'])
        elif g.get('UpperDir'):
            with tempfile.TemporaryDirectory() as at:
                stack = 'lowerdir=' + ':'.join([g['UpperDir']] + [x for x in g.get('LowerDir', '').split(':') if x])
                run(*(('fuse-overlayfs', '-o', stack, at) if os.environ.get('FUSE') else ('mount', '-t', 'overlay', 'overlay', '-o', os.environ.get('OVERLAY', 'ro') + ',' + stack, at)))
                try:
                    C['merged'] = walk(at)
                finally:
                    run('umount', at)
        else:
            C['merged'] = whole(i)
        t['containers'].append(C)
    for v in run(*d, 'volume', 'ls', '-q').split():
        i = json.loads(run(*d, 'volume', 'inspect', v))[0]
        t['volumes'].append({'inspect': i, 'files': walk(i['Mountpoint'])})
    for n in run(*d, 'network', 'ls', '-q').split():
        t['networks'].append(json.loads(run(*d, 'network', 'inspect', n))[0])
    if os.path.basename(d[-1]) == 'podman':
        t['secrets'] = [json.loads(run(*d, 'secret', 'inspect', s))[0] for s in run(*d, 'secret', 'ls', '-q').split()]
        t['pods'] = [json.loads(run(*d, 'pod', 'inspect', p)) for p in run(*d, 'pod', 'ls', '-q', '--no-trunc').split()]
    return t

def storage(root):
    """Each container of a containers/storage store with its tree, as the kernel's overlay shows it."""
    t = {'trees': {}}
    for f in ('containers.json', 'volatile-containers.json'):
        f = root + '/overlay-containers/' + f
        for c in json.load(open(f)) if os.path.exists(f) else []:
            at = '%s/overlay/%s' % (root, c['layer'])
            if os.path.ismount(at + '/merged'):
                t['trees'][c['id']] = walk(at + '/merged')
                continue
            with tempfile.TemporaryDirectory() as to:
                lower = ':'.join(root + '/overlay/' + l for l in open(at + '/lower').read().split(':'))
                run('mount', '-t', 'overlay', 'overlay', '-o', 'ro,lowerdir=%s/diff:%s' % (at, lower), to)
                try:
                    t['trees'][c['id']] = walk(to)
                finally:
                    run('umount', to)
    return t

def main():
    out, mode, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    t = {'mode': mode, **(containerd(rest[0], rest[1:]) if mode == 'containerd' else storage(rest[0]) if mode == 'storage' else engine(rest))}
    for extra in filter(None, os.environ.get('EXTRA', '').split()):  # NAME=FILE.json
        n, f = extra.split('=')
        t[n] = json.load(open(f))
    json.dump(t, open(out, 'w'))
main()
