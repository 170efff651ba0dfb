"""Changes an image of CRIU: IMAGE PROGRAMS MARK. /dev/shm becomes a link to PROGRAMS, a directory that is in PATH, and the
tmpfs for /dev/shm gets a program `tar` that makes MARK."""
import glob
import io
import sys
import tarfile

image, programs, mark = sys.argv[1:]
changed = 0
for path in glob.glob(image + "/tmpfs-dev-*.img"):
    with tarfile.open(path, "r:gz") as old:
        members = [(member, old.extractfile(member).read() if member.isreg() else None) for member in old]
    names = [member.name for member, _ in members]
    with tarfile.open(path, "w:gz") as new:
        for member, content in members:
            if member.name == "./shm":
                member.type, member.linkname = tarfile.SYMTYPE, programs
                changed += 1
            new.addfile(member, None if content is None else io.BytesIO(content))
        if names == ["."]:
            script = "#!/bin/sh\n: > {}\n".format(mark).encode()
            program = tarfile.TarInfo("./tar")
            program.mode, program.size = 0o755, len(script)
            new.addfile(program, io.BytesIO(script))
            changed += 1
if changed < 2:
    sys.exit("this is not the image of the test")
