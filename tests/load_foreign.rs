//! The load generator against a server that is not ours: nginx with its RTMP module.
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::eventually;
use support::load::load;

/// A running nginx, killed when dropped.
struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    fn start() -> Self {
        let name = format!("nginx-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        // It takes no port 0: one that is free now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
             daemon off; master_process off; pid {0}/pid; error_log {0}/log;\n\
             events {{ worker_connections 512; }}\n\
             rtmp {{ server {{ listen {address}; application live {{\n\
             live on; wait_key on; wait_video on; }} }} }}\n",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .args(["-p", folder.to_str().unwrap(), "-c", file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx with libnginx-mod-rtmp: scripts/install-tools.sh");
        let mut nginx = Self { child, folder, address };
        eventually("nginx that listens", || {
            let log = fs::read_to_string(nginx.folder.join("log")).unwrap_or_default();
            assert!(nginx.child.try_wait().unwrap().is_none(), "nginx has ended: {log}");
            TcpStream::connect(address).ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_foreign_server_is_loaded_and_its_players_are_checked() {
    let nginx = Nginx::start();
    let pid = nginx.child.id().to_string();
    let flags = ["--players", "8", "--verify-every", "2", "--gop-ms", "500", "--time", "2"];
    let more = ["--expect-no-gap", "--server-pid", &pid];
    let run = load(nginx.address, &[&flags[..], &more].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let count = |name| run.count(name);
    assert_eq!(["joined", "verified", "drained"].map(count), [8, 4, 4]);
    assert_eq!(["gaps", "corrupt", "reordered", "short_players", "closed"].map(count), [0; 5]);
    // At least what was published in the measured time, to every player that is verified.
    assert!(count("verified_messages") >= 4 * 2 * 73, "{}", run.result);
    assert!(run.number("server_cpu_ms") > 0.0, "{}", run.result);
}
