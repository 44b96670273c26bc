import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(42)
rng = np.random.default_rng(42)

roll = rng.uniform(-0.2, 0.2, size=(512, 1))
pitch = rng.uniform(0.5, 1.0, size=(512, 1))
yaw = rng.uniform(-3.0, 3.0, size=(512, 1))
angles = np.concatenate([roll, pitch, yaw], axis=1)
imu = np.concatenate([angles, angles[:, ::-1] * 0.5], axis=1) + 0.02 * rng.normal(size=(512, 6))
imu = imu.astype("float32")
roll, pitch, yaw = (a.astype("float32") for a in (roll, pitch, yaw))


class AttitudeNet(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = layers.Dense(32, activation="relu")
        self.roll, self.pitch, self.yaw = layers.Dense(1), layers.Dense(1), layers.Dense(1)

    def call(self, x):
        h = self.body(x)
        return {"roll": self.roll(h), "pitch": self.pitch(h), "yaw": self.yaw(h)}


net = AttitudeNet()
net.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
for step in range(200):
    rows = rng.integers(0, 512, 64)
    logs = net.train_on_batch(
        imu[rows], {"roll": roll[rows], "pitch": pitch[rows], "yaw": yaw[rows]}, return_dict=True
    )
print({name: round(float(value), 4) for name, value in logs.items()})

found = net.predict(imu, verbose=0)
for name, truth in (("roll", roll), ("pitch", pitch), ("yaw", yaw)):
    print(f"{name:5s} measured mean {truth.mean():6.3f}, predicted mean {found[name].mean():6.3f}, error {np.abs(found[name] - truth).mean():.3f}")
