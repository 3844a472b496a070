"""Instances of MariaDB, or of MySQL, on this machine: what differs from PostgreSQL's in agent_support.

MariaDB is looked for on PATH and in the folders for servers. PROA_MYSQL_BIN names the folder of another MariaDB's, or MySQL's, programs.
"""
import os
import subprocess
from pathlib import Path

from agent_support import AGENT, Cluster, Instance
from support import BUILD

FOLDER = os.environ.get("PROA_MYSQL_BIN", "")
IS_MARIADB = not FOLDER or (Path(FOLDER) / "mariadbd").exists()
SERVER, CLIENT = ("mariadbd", "mariadb") if IS_MARIADB else ("mysqld", "mysql")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin", "/bin"])
ENGINE_CONF = BUILD / "tests" / "engine_conf"


def find(name):
    folders = [FOLDER] if FOLDER else PATH.split(os.pathsep)
    return next((Path(folder) / name for folder in folders if folder and (Path(folder) / name).exists()), None)


class Session:
    """A client that stays connected: one statement, one answer."""

    def __init__(self, instance):
        self.process = subprocess.Popen(instance.client(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, bufsize=1, **instance.cluster.run_as)

    def insert(self, x):
        """@returns whether the server has acknowledged the row."""
        try:
            self.process.stdin.write(f"INSERT INTO t VALUES ({x}); SELECT 'has {x}';\n")
            return self.process.stdout.readline().strip() == f"has {x}"
        except BrokenPipeError:
            return False

    def close(self):
        self.process.kill()
        self.process.communicate()


class MysqlInstance(Instance):
    def start(self, *arguments, **options):
        return super().start(*arguments, PATH=PATH, **options)

    def wait_ready(self, seconds=120):
        """A copy takes its time on a machine that has other things to do."""
        return super().wait_ready(seconds)

    def write_login(self, user, password, host):
        file = self.folder / "login.cnf"
        file.write_text(f"[client]\nuser=\"{user}\"\npassword=\"{password}\"\nhost={host}\nport=3306\n")
        file.chmod(0o600)
        self.cluster.give(file)
        return file

    def client(self, login=None, database="app"):
        secret = self.cluster.secret
        login = login or self.write_login(secret["username"], secret["password"], self.address)
        return [find(CLIENT), f"--defaults-file={login}", "--batch", "--skip-column-names",
                "--unbuffered", "--connect-timeout=10", "--default-character-set=utf8mb4", database]

    def run_client(self, command, statement):
        done = subprocess.run(command, input=statement, capture_output=True, text=True, timeout=120, **self.cluster.run_as)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines()]

    def sql(self, statement, user=None, password=None):
        """As a client over the network."""
        secret = self.cluster.secret
        login = self.write_login(user or secret["username"], password or secret["password"], self.address)
        return self.run_client(self.client(login), statement)

    def root(self, statement, database="mysql"):
        """As somebody in the container would."""
        return self.run_client(self.client(self.run / "mysql-root.cnf", database), statement)

    def replica(self):
        """SHOW REPLICA STATUS as a dictionary, under MySQL's names."""
        command = self.client(self.run / "mysql-root.cnf", "mysql")
        command.remove("--skip-column-names")
        lines = self.run_client(command, "SHOW REPLICA STATUS;")
        if not lines:
            return {}
        names = [name.replace("Master", "Source").replace("Slave", "Replica") for name in lines[0]]
        return dict(zip(names, lines[1]))

    def rows(self, table="t"):
        return [int(row[0]) for row in self.root(f"SELECT x FROM app.{table} ORDER BY x")]

    def server_pid(self):
        try:
            return int((self.run / "mysqld.pid").read_text())
        except (OSError, ValueError):
            return None

    def metrics(self):
        samples = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples


class MysqlCluster(Cluster):
    engine = "mysql"
    instance_type = MysqlInstance

    @staticmethod
    def find_programs():
        if find(SERVER) is None or find(CLIENT) is None:
            raise FileNotFoundError(f"no {SERVER} or {CLIENT}")
        return FOLDER

    def write_config(self, more=""):
        """What the operator writes, with parameters that make the server small and that do not wait for the disk (what is tested is
        killed, not powered off)."""
        parameters = ["innodb_buffer_pool_size=32M", "innodb_log_file_size=8M", "max_connections=50", "innodb_flush_method=nosync",
                      "performance_schema=OFF", "innodb_use_native_aio=OFF"]
        if not IS_MARIADB:
            parameters = ["innodb_buffer_pool_size=32M", "innodb_redo_log_capacity=16M", "max_connections=50",
                          "innodb_flush_method=nosync", "innodb_use_native_aio=OFF"]
        text = subprocess.run([ENGINE_CONF, "mysql", self.name, *parameters, *(more or ())], capture_output=True, text=True,
                              check=True).stdout
        (self.config / "engine.conf").write_text(text)

    @property
    def is_mariadb(self):
        return IS_MARIADB


def is_built():
    return AGENT.exists() and ENGINE_CONF.exists()
