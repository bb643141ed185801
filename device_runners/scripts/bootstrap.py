# The first lines of Python on a device, given on its command line: ROOT SHA256 SIZE SILENCE_S.
#
# They look whether the packed runner is in the device's folder already, take it from the connection
# where not, and start the agent. The words on their output: `have PATH`; `need`, for the runner's
# bytes; `full` or `disk` and a reason, where these could not be stored: then the agent runs from
# memory; and `damaged`.
import sys

sys.path[:] = [folder for folder in sys.path if folder]
import hashlib, io, os, zipfile

root, sha, size, silence = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])


def say(word):
    os.write(1, (word + "\n").encode())


folder = os.path.join(os.path.expanduser(root), "runner", sha)
path = os.path.join(folder, "edgegen-runner.pyz")


def whole(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == sha
    except OSError:
        return False


class InMemory:
    # Imports the runner from its bytes, where no room is left to store it.
    def __init__(self, data):
        self.archive = zipfile.ZipFile(io.BytesIO(data))
        self.names = set(self.archive.namelist())

    def find_spec(self, name, path=None, target=None):
        from importlib.util import spec_from_loader

        place = name.replace(".", "/")
        if place + "/__init__.py" in self.names:
            return spec_from_loader(name, self, is_package=True)
        return spec_from_loader(name, self) if place + ".py" in self.names else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        place = module.__name__.replace(".", "/")
        place += "/__init__.py" if module.__spec__.submodule_search_locations is not None else ".py"
        exec(compile(self.archive.read(place), place, "exec"), module.__dict__)


def store(data):
    own = path + "." + str(os.getpid())
    try:
        os.makedirs(folder, exist_ok=True)
        with open(own, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(own, path)
    except OSError as error:
        try:
            os.unlink(own)  # else it takes the last of the room
        except OSError:
            pass
        return ("full " if error.errno in (28, 122) else "disk ") + str(error)


word = "have " + path
if whole(path):
    sys.path.insert(0, path)
else:
    say("need")
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit(4)
        data += piece
    if hashlib.sha256(data).hexdigest() != sha:
        say("damaged")
        sys.exit(4)
    trouble = store(data)
    if trouble:
        word = trouble
        sys.meta_path.insert(0, InMemory(data))
    else:
        sys.path.insert(0, path)
say(word)
from edgegen_runner.agent.main import main

sys.exit(main(root, silence_s=silence))
