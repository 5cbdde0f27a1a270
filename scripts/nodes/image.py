#!/usr/bin/env python3
"""Write an image as an archive that both `ctr images import` and `docker load` take.

usage: image.py OUT.tar NAME:TAG...
Three layers of a few small files: what layers can do to one another, without a shell.
"""
import gzip, hashlib, io, json, os, sys, tarfile

T = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "t"), "rb").read()
WHEN = 1750000000

def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as t:
        for name, typ, mode, uid, data, *pax in entries:
            i = tarfile.TarInfo(name)
            i.type, i.mode, i.uid, i.gid, i.mtime = typ, mode, uid, uid, WHEN + len(t.getmembers()) * 1.25 if typ != tarfile.LNKTYPE else t.getmember(data.decode()).mtime
            if typ == tarfile.REGTYPE:
                i.size = len(data)
            elif typ in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                i.linkname = data.decode()
            if pax:
                i.pax_headers = {'SCHILY.xattr.' + k: v for k, v in pax[0].items()}
            t.addfile(i, io.BytesIO(data) if typ == tarfile.REGTYPE else None)
    return out.getvalue()

F, D, S, H = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
LAYERS = [
    layer(('bin', D, 0o755, 0, b''), ('bin/t', F, 0o755, 0, T), ('etc', D, 0o755, 0, b''),
          ('etc/passwd', F, 0o644, 0, b'root:x:0:0:root:/root:/bin/t\nwww:x:33:33::/www:/bin/t\n'), ('etc/group', F, 0o644, 0, b'root:x:0:\nwww:x:33:\n'),
          ('tmp', D, 0o1777, 0, b''), ('www', D, 0o755, 33, b''), ('www/index', F, 0o644, 33, b'<h1>base</h1>\n'), ('www/old', F, 0o600, 33, b'old\n'),
          ('lib', D, 0o755, 0, b''), ('lib/a', F, 0o644, 0, b'a' * 5000), ('lib/b', H, 0o644, 0, b'lib/a'), ('lib/c', S, 0o777, 0, b'a'),
          ('opt', D, 0o755, 0, b''), ('opt/x', D, 0o755, 0, b''), ('opt/x/1', F, 0o644, 0, b'1\n'), ('opt/x/2', F, 0o644, 0, b'2\n'), ('opt/gone', F, 0o644, 0, b'gone\n')),
    layer(('www', D, 0o750, 33, b''), ('www/.wh.old', F, 0o644, 0, b''), ('www/new', F, 0o644, 33, b'new\n'), ('etc/passwd', F, 0o640, 0, b'root:x:0:0:root:/root:/bin/t\n'),
          ('bin/su', F, 0o4755, 0, b'not really\n'), ('opt/x', D, 0o700, 7, b''), ('opt/x/.wh..wh..opq', F, 0o644, 0, b''), ('opt/x/3', F, 0o644, 0, b'3\n')),
    layer(('opt/.wh.gone', F, 0o644, 0, b''), ('etc/conf', F, 0o644, 0, b'conf\n', {'user.note': 'hello'}), ('\u043b\u0430\u0433\u0430\u043d', F, 0o644, 0, b'utf-8\n')),
]
STEPS = ['/bin/sh -c #(nop) ADD file:1 in / ', 'RUN /bin/t r /www/old w /www/new new # buildkit', 'COPY conf /etc/conf # buildkit']

def digest(b):
    return 'sha256:' + hashlib.sha256(b).hexdigest()

def main():
    out, names = sys.argv[1], sys.argv[2:]
    blobs = {}
    def blob(b):
        blobs[digest(b)] = b
        return digest(b)
    packed = [gzip.compress(l, 9, mtime=0) for l in LAYERS]
    config = {'created': '2025-06-15T15:06:40.5Z', 'author': 'fixture', 'architecture': 'amd64', 'os': 'linux',
              'config': {'Env': ['PATH=/bin', 'KIND=fixture'], 'Cmd': ['/bin/t', 's'], 'Labels': {'maker': 'lagan'}, 'ExposedPorts': {'80/tcp': {}}},
              'rootfs': {'type': 'layers', 'diff_ids': [digest(l) for l in LAYERS]},
              'history': [{'created': '2025-06-15T15:06:3%d.5Z' % i, 'created_by': s} for i, s in enumerate(STEPS)] + [{'created': '2025-06-15T15:06:40.5Z', 'created_by': 'CMD ["/bin/t" "s"]', 'empty_layer': True}]}
    cb = json.dumps(config, separators=(',', ':')).encode()
    desc = lambda m, b: {'mediaType': m, 'digest': blob(b), 'size': len(b)}
    manifest = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': desc('application/vnd.oci.image.config.v1+json', cb),
                           'layers': [desc('application/vnd.oci.image.layer.v1.tar+gzip', p) for p in packed]}).encode()
    m = desc('application/vnd.oci.image.manifest.v1+json', manifest)
    index = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json', 'manifests': [
        {**m, 'annotations': {'io.containerd.image.name': 'docker.io/library/' + n, 'org.opencontainers.image.ref.name': n.split(':')[1]}} for n in names]}).encode()
    files = {'blobs/sha256/' + d[7:]: b for d, b in blobs.items()}
    files['oci-layout'] = b'{"imageLayoutVersion":"1.0.0"}'
    files['index.json'] = index
    files['manifest.json'] = json.dumps([{'Config': 'blobs/sha256/' + digest(cb)[7:], 'RepoTags': names, 'Layers': ['blobs/sha256/' + digest(p)[7:] for p in packed]}]).encode()
    with tarfile.open(out, 'w') as t:
        for n, b in sorted(files.items()):
            i = tarfile.TarInfo(n)
            i.size, i.mode = len(b), 0o644
            t.addfile(i, io.BytesIO(b))
main()
